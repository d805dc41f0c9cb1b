package sqlplan

import (
	"testing"

	"github.com/strongroom-go/strongroom/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
