package service

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	const mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\nnone /sys/fs/cgroup/memory cgroup rw,memory 0 0\nshort line\n"
	for name, tt := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing": {nil, 0},
		"machine": {map[string]string{"proc/meminfo": "MemFree: 1 kB\nMemTotal:     1024 kB\n"}, 1 << 20},
		"version 2": {map[string]string{
			"proc/meminfo": "MemTotal: 1024 kB\n", "proc/self/mounts": mounts, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "5000\n", "sys/fs/cgroup/a/memory.max": "max\n",
		}, 5000},
		"group above": {map[string]string{
			"proc/self/mounts": mounts, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "5000\n", "sys/fs/cgroup/a/memory.max": "4000\n",
		}, 4000},
		"container": {map[string]string{
			"proc/self/mounts": mounts, "proc/self/cgroup": "0::/not/visible\n", "sys/fs/cgroup/memory.max": "3000\n",
		}, 3000},
		"version 1": {map[string]string{
			"proc/self/mounts": mounts, "proc/self/cgroup": "4:cpu,memory:/m\n0::/\n",
			"sys/fs/cgroup/memory/m/memory.limit_in_bytes": "2000\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 2000},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range tt.files {
				file = filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := memoryLimit(root); got != tt.want {
				t.Errorf("limit is %d, want %d", got, tt.want)
			}
		})
	}
}

// TestLimitMemory checks that the garbage collector gets a limit, unless the environment
// has one.
func TestLimitMemory(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	before := debug.SetMemoryLimit(-1)
	t.Setenv("GOMEMLIMIT", "1GiB")
	if LimitMemory() <= 0 || debug.SetMemoryLimit(-1) != before {
		t.Errorf("the limit of the environment was replaced by %d", debug.SetMemoryLimit(-1))
	}
	t.Setenv("GOMEMLIMIT", "")
	if limit := LimitMemory(); debug.SetMemoryLimit(-1) != limit/2 {
		t.Errorf("the limit of the collector is %d, that of the process %d", debug.SetMemoryLimit(-1), limit)
	}
}
