package demo

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
)

// Picture draws what looks somewhat like a radiograph of a knee: nobody's. Each look is another one.
func Picture(look int64) []byte {
	const w, h = 360, 480
	chance := rand.New(rand.NewPCG(uint64(look), 7))
	lean, gap := chance.Float64()*0.16-0.08, 8+chance.Float64()*6
	img := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			// From the middle of the joint, in units of the bone's width.
			u, v := (float64(x)-w/2)/58-lean*(float64(y)-h/2)/58, float64(y)-h/2
			flesh := 46 * smooth(1.9-math.Abs(u)+0.25*math.Cos(v/90))
			// Two shafts that widen to the joint, and between them the gap.
			reach := math.Exp(-math.Abs(v) / 70)
			width := 0.62 + 0.62*reach
			bone := smooth((width - math.Abs(u)) * 7)
			cortex := smooth(1-math.Abs(math.Abs(u)-width+0.12)*9) * (1 - reach)
			bone *= smooth((math.Abs(v)-gap-7*u*u*reach)/4 + 0.5)
			kneecap := smooth(1.2 - math.Hypot((u-0.15)/0.5, (v+46)/34))
			light := 10 + flesh + bone*(96+44*cortex) + kneecap*34 + 9*chance.NormFloat64()
			img.SetGray(x, y, color.Gray{Y: uint8(min(max(light, 0), 255))})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // of a buffer in memory
	}
	return b.Bytes()
}

// smooth goes from 0 to 1 where x does.
func smooth(x float64) float64 {
	x = min(max(x, 0), 1)
	return x * x * (3 - 2*x)
}
