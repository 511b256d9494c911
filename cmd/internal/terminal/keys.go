package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Keys makes a terminal deliver each key at once, and does not show it. It returns a
// channel with the keys, and a function that restores the terminal. The channel never has
// a key if r is no terminal, or the system is not supported. Ctrl-C is still a signal.
func Keys(r io.Reader) (keys <-chan byte, restore func()) {
	pressed := make(chan byte)
	f, ok := r.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return pressed, func() {}
	}
	undo, err := deliverKeys(int(f.Fd()))
	if err != nil {
		return pressed, func() {}
	}
	done := make(chan struct{})
	go func() { // ends with the next key, or with the program
		b := make([]byte, 1)
		for {
			if n, err := f.Read(b); n == 0 || err != nil {
				return
			}
			select {
			case pressed <- b[0]:
			case <-done:
				return
			}
		}
	}()
	return pressed, func() {
		close(done)
		undo()
	}
}
