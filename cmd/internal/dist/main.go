// The program dist makes the files of a release: packages for Debian and Red
// Hat, archives for all platforms, the bill of materials of each program, and
// checksums. "make dist" runs it.
//
// The same commit and version give the same bytes, wherever and whenever the
// program runs.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A platform is one that Go compiles for.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// platforms are those of a release. Linux has packages, too.
var platforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}}

// programs are those of the release, by their directories in cmd.
var programs = []string{"zeekwire", "zeek-client"}

// sources returns the packages of the programs.
func sources() []string {
	paths := make([]string, len(programs))
	for i, program := range programs {
		paths[i] = "./cmd/" + program
	}
	return paths
}

// A release describes the release that the program makes.
type release struct {
	root    string    // directory of the checkout
	work    string    // temporary directory
	output  string    // directory for the files of the release
	version string    // as in v1.2.3
	time    time.Time // of the commit, and of every file in archives and packages
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("dist", flag.ContinueOnError)
	version := flags.String("version", "", "`VERSION` of the release, such as v1.2.3; empty: one of the commit")
	output := flags.String("output", "bin/dist", "`DIR` for the files; those of an earlier run are removed")
	only := flags.String("platforms", "", "`LIST` of platforms such as linux/amd64, with commas between; empty: all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	r, err := newRelease(ctx, *version, *output)
	if err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	return r.make(ctx, chosen)
}

// choose returns the platforms in a list with commas, or all if it is empty.
func choose(list string) ([]platform, error) {
	if list == "" {
		return platforms, nil
	}
	var chosen []platform
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(platforms, func(p platform) bool { return p.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("platform %q is none of %v", name, platforms)
		}
		chosen = append(chosen, platforms[i])
	}
	return chosen, nil
}

// newRelease returns the release of the commit that is checked out in the working
// directory. An empty version means a pseudo-version of the commit.
func newRelease(ctx context.Context, version, output string) (*release, error) {
	root, err := execute(ctx, "", nil, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	commit, err := execute(ctx, root, nil, "git", "log", "-1", "--format=%ct %H")
	if err != nil {
		return nil, err
	}
	seconds, hash, _ := strings.Cut(commit, " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("time of the commit: %w", err)
	}
	if changed, err := execute(ctx, root, nil, "git", "status", "--porcelain"); err != nil || changed != "" {
		return nil, errors.Join(err, fmt.Errorf("commit these files first, because a release has those of a commit:\n%s", changed))
	}
	r := &release{root: root, version: version, time: time.Unix(unix, 0).UTC()}
	if r.version == "" {
		r.version = fmt.Sprintf("v0.0.0-%s-%.12s", r.time.Format("20060102150405"), hash)
	}
	if !validVersion.MatchString(r.version) {
		return nil, fmt.Errorf("version %q is not of the form v1.2.3 or v1.2.3-rc.1", r.version)
	}
	if r.output, err = filepath.Abs(output); err != nil {
		return nil, err
	}
	r.work, err = os.MkdirTemp("", "zeekwire-dist")
	return r, err
}

// make writes all files of the release. It first removes files of an earlier
// release from the output directory. Other files there are an error.
func (r *release) make(ctx context.Context, chosen []platform) error {
	if err := r.clearOutput(); err != nil {
		return err
	}
	for _, tool := range []string{sbomTool, packageTool} {
		if err := r.install(ctx, tool); err != nil {
			return err
		}
	}
	if err := r.generate(ctx); err != nil {
		return err
	}
	if err := r.stage(); err != nil {
		return err
	}
	for _, p := range chosen {
		if err := r.platform(ctx, p); err != nil {
			return fmt.Errorf("%v: %w", p, err)
		}
	}
	return r.checksums()
}

// platform makes the files for one platform.
func (r *release) platform(ctx context.Context, p platform) error {
	if err := r.build(ctx, p); err != nil {
		return err
	}
	if err := r.materials(ctx, p); err != nil {
		return err
	}
	if err := r.archive(p); err != nil {
		return err
	}
	if p.os != "linux" {
		return nil
	}
	return r.packages(ctx, p)
}

// checksumFile lists the SHA-256 of all other files of the release, in the format
// of sha256sum.
const checksumFile = "SHA256SUMS"

func (r *release) clearOutput() error {
	if err := os.MkdirAll(r.output, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.output)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != checksumFile && !strings.HasPrefix(e.Name(), "zeekwire") {
			return fmt.Errorf("%s has files that are not of a release, such as %s: choose another directory", r.output, e.Name())
		}
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(r.output, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (r *release) checksums() error {
	entries, err := os.ReadDir(r.output)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, e := range entries {
		f, err := os.Open(filepath.Join(r.output, e.Name()))
		if err != nil {
			return err
		}
		hash := sha256.New()
		_, err = io.Copy(hash, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", hash.Sum(nil), e.Name())
	}
	return os.WriteFile(filepath.Join(r.output, checksumFile), []byte(sums.String()), 0o644)
}

// execute runs a command in dir, with additional environment variables, and returns
// its standard output without the last line break.
func execute(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}
