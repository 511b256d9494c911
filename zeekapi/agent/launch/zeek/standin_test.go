package zeek

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// standIn is the environment variable that makes this test program behave like zeek. Its
// value is the version.
const standIn = "ZEEKWIRE_TEST_STAND_IN"

func TestMain(m *testing.M) {
	if os.Getenv(standIn) != "" {
		if os.Getenv(agentDir) != "" && os.Getenv("CLUSTER_NODE") == "" && len(os.Args) == 1 {
			os.Exit(runAgent())
		}
		os.Exit(runZeek())
	}
	currentPrivileges = func() privileges { return privileges{root: true} } // also if it is not so
	os.Setenv(standIn, "8.0.10")
	os.Setenv("GORACE", "atexit_sleep_ms=0") // stand-ins need not wait for reports when they end
	// Tests mostly wait. The command line overrides this.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// runZeek behaves as the node's environment variable BEHAVIOUR specifies.
func runZeek() int {
	if slices.Contains(os.Args, "--version") {
		fmt.Println("zeek version", os.Getenv(standIn))
		return 0
	}
	if slices.Contains(os.Args, "--parse-only") {
		return parseScripts()
	}
	if list := os.Getenv("LOADED"); list != "" {
		if err := os.WriteFile(os.Getenv("ZEEKWIRE_LOADED_SCRIPTS"), []byte(strings.ReplaceAll(list, ":", "\x00")+"\x00\x00"), 0o600); err != nil {
			panic(err)
		}
	}
	switch os.Getenv("BEHAVIOUR") {
	case "die":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "fatal error: cannot")
		return 3
	case "end":
		return 0
	case "chatter":
		w := bufio.NewWriter(os.Stdout)
		defer w.Flush()
		for i := range 100_000 {
			fmt.Fprintln(w, "line", i)
		}
		return 1
	case "flood":
		for i := range 1_000_000 { // limited, in case the test does not end it
			fmt.Println("line", i, strings.Repeat("x", 1000))
			time.Sleep(time.Millisecond) // leave CPU time to other processes
		}
	case "hello":
		return runHelloNode()
	case "spin":
		fmt.Println("ready")
		for used := 0; ; used++ {
			runtime.KeepAlive(used)
		}
	case "listen":
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		defer listener.Close()
		fmt.Println(listener.Addr().(*net.TCPAddr).Port)
		select {}
	case "ignore SIGTERM":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	case "leave a child", "leave a child and die":
		child := exec.Command("sleep", "1000")
		if err := child.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(child.Process.Pid)
		if os.Getenv("BEHAVIOUR") == "leave a child and die" {
			return 1
		}
	case "report":
		dir, _ := os.Getwd()
		fmt.Println("cwd", filepath.Base(dir))
		for _, key := range []string{"CLUSTER_NODE", "ZEEK_AGENT_ADDR", "ZEEK_AGENT_PORT", "FOO"} {
			fmt.Println(key, os.Getenv(key))
		}
		for _, arg := range os.Args[1:] {
			fmt.Println("arg", filepath.Base(arg))
		}
		affinity, err := exec.Command("sh", "-c", "grep Cpus_allowed_list /proc/$$/status").Output()
		if err != nil {
			fmt.Println(err)
		}
		fmt.Print(string(affinity))
		return 0
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	fmt.Println("ready")
	<-terminated
	fmt.Fprintln(os.Stderr, "received termination signal")
	return 0
}

// parseScripts fails for scripts with errors. It adds a line to the file PARSES for each
// call.
func parseScripts() int {
	if file := os.Getenv("PARSES"); file != "" {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(f, os.Getenv("CLUSTER_NODE"), os.Getenv("ZEEKPATH"), os.Getenv("ZEEK_PLUGIN_PATH"))
		f.Close()
	}
	first, _, _ := strings.Cut(os.Getenv("ZEEKPATH"), ":")
	if text, err := os.ReadFile(filepath.Join(first, layoutFile)); err != nil || bytes.Contains(text, []byte("$metrics_port")) {
		fmt.Fprintln(os.Stderr, "no layout, or one with metrics ports, which Zeek would open")
		return 1
	}
	switch os.Getenv("BEHAVIOUR") {
	case "hang":
		select {}
	case "keep the output open":
		child := exec.Command("sleep", "2")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			panic(err)
		}
	}
	for i, arg := range os.Args[1:] {
		text, err := os.ReadFile(arg)
		if err == nil && bytes.Contains(text, []byte("unclosed")) { // Zeek continues in the next script
			if rest := os.Args[i+2:]; len(rest) > 0 {
				fmt.Fprintf(os.Stderr, "error in %s, line 15: syntax error\n", filepath.Base(rest[0]))
			} else {
				fmt.Fprintf(os.Stderr, "error: syntax error, at end of file %s\n", filepath.Base(arg))
			}
			return 1
		}
		if err == nil && bytes.Contains(text, []byte("syntax error")) {
			fmt.Fprintf(os.Stderr, "warning: something\nerror in %s, line 1: syntax error\n", filepath.Base(arg))
			return 1
		}
	}
	return 0
}
