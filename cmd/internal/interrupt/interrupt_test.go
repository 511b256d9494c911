package interrupt

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
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

// A repetition of the first signal is ignored, and a later signal ends the process.
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
		if !lines.Scan() || lines.Text() != "ready" {
			t.Errorf("output is %q, want ready", lines.Text())
		}
		for range 2 { // as timeout(1) does
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}
		if !lines.Scan() || lines.Text() != "ending" {
			t.Errorf("after two signals at once, output is %q, want ending", lines.Text())
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			lines.Scan() // to the end of the output
		}()
		for again := true; again; { // until one arrives late enough
			select {
			case <-ended:
				again = false
			case <-time.After(repetition):
				_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
			}
		}
		stdin.Close()
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("the process ended with %v, want a SIGTERM", err)
		}
	}
}
