package interrupt

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// obstinate is the environment variable that makes the test binary run a
// program that does not end when its context ends.
const obstinate = "ZEEKWIRE_TEST_OBSTINATE"

func TestMain(m *testing.M) {
	if os.Getenv(obstinate) != "" {
		ctx, _ := Context()
		fmt.Println("ready")
		<-ctx.Done()
		fmt.Println("ending")
		os.Stdin.Read(make([]byte, 1)) // until the test ends
		return
	}
	os.Exit(m.Run())
}

// The second signal ends the process, even if it arrives directly after the end
// of the context.
func TestSecondSignalEndsProcess(t *testing.T) {
	for range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), obstinate+"=1")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		for _, want := range []string{"ready", "ending"} {
			if !lines.Scan() || lines.Text() != want {
				t.Errorf("output is %q, want %q", lines.Text(), want)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}
		lines.Scan() // to the end of the output
		stdin.Close()
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("the process ended with %v, want a SIGTERM", err)
		}
	}
}
