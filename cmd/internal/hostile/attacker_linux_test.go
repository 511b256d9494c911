package hostile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/zeekwire/zeekwire/cmd/internal/hostile/attack"
)

// attacker is a process that attacks.
type attacker struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// startAttacker starts an attack and waits until it has begun.
func startAttacker(a assault) (*attacker, error) {
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	r := &attacker{cmd: exec.Command(os.Args[0])}
	r.cmd.Env = append(os.Environ(), attackVariable+"="+string(text))
	r.cmd.Stderr = &r.stderr
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.stdout = bufio.NewReader(stdout)
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(answerLimit, func() { r.stdin.Close() })
	defer late.Stop()
	if line, err := r.stdout.ReadString('\n'); err != nil || line != "begun\n" {
		r.stdin.Close()
		r.cmd.Wait()
		return nil, fmt.Errorf("the attack did nothing: %q, %v\n%s", line, err, r.stderr.Bytes())
	}
	return r, nil
}

// stop ends the attack and returns what it has done.
func (r *attacker) stop() (stats attack.Stats, err error) {
	r.stdin.Close()
	kill := time.AfterFunc(time.Minute, func() { r.cmd.Process.Kill() })
	defer kill.Stop()
	decodeErr := json.NewDecoder(r.stdout).Decode(&stats)
	if err := r.cmd.Wait(); err != nil {
		return stats, fmt.Errorf("attacker: %w\n%.2000s", err, r.stderr.Bytes())
	}
	return stats, decodeErr
}
