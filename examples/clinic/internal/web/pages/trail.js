// Shows the trail again when there is more of it. Without scripts, reload the page.
const seen = document.body.dataset.seen;

async function wait() {
  for (;;) {
    try {
      const answer = await fetch("/trail/after/" + seen);
      if (answer.ok && (await answer.text()).trim() !== seen) {
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(answer.status);
    } catch {
      await new Promise((later) => setTimeout(later, 2000)); // the service is being restarted
    }
  }
}

wait();
