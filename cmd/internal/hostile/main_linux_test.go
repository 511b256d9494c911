package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/zeekwire/zeekwire/cmd/internal/hostile/attack"
	"github.com/zeekwire/zeekwire/cmd/internal/testbinary"
)

// attackVariable is the environment variable that makes the test binary an
// attacker. Its value is an assault in JSON.
const attackVariable = "ZEEKWIRE_HOSTILE_ATTACK"

// assault is an attack on a target.
type assault struct {
	Attack string
	Target attack.Target
}

func TestMain(m *testing.M) {
	text := os.Getenv(attackVariable)
	if text == "" {
		os.Exit(testbinary.Main(m.Run))
	}
	if err := runAttack(text); err != nil {
		fmt.Fprintln(os.Stderr, "attacker:", err)
		os.Exit(1)
	}
}

// runAttack attacks until the end of standard input. It writes a line when the
// attack has begun, and its Stats at the end.
func runAttack(text string) error {
	var a assault
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	stats, err := attack.Run(ctx, a.Attack, a.Target, func() { fmt.Println("begun") })
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(stats)
}
