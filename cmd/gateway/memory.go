package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// spareCollector lets the heap grow to four times what lives in it before the
// collector runs, not twice: little lives in it, some ten megabytes, and running
// for each ten more took a tenth of the processor's time. GOGC, where it is set,
// counts instead.
func spareCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
}

// limitMemory has the collector work harder before the memory is used up that
// this process's group may have (cgroup v2: systemd's MemoryMax, a container's
// limit): at four fifths of it, since the kernel counts more than the collector
// does. GOMEMLIMIT, where it is set, counts instead.
func limitMemory(log *slog.Logger) {
	limit, ok := groupMemory("/proc/self/cgroup", "/sys/fs/cgroup")
	if !ok || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(limit / 5 * 4)
	log.Info("the memory that this process may have is limited", "bytes", limit, "collector", limit/5*4)
}

// groupMemory is the lowest limit of the groups that a process is in, in bytes;
// false: there is none.
func groupMemory(self, root string) (int64, bool) {
	b, err := os.ReadFile(self)
	_, group, ok := strings.Cut("\n"+string(b), "\n0::")
	if err != nil || !ok {
		return 0, false
	}
	group, _, _ = strings.Cut(group, "\n")
	lowest, found := int64(0), false
	for dir := filepath.Clean("/" + group); ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(root, dir, "memory.max"))
		if n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil && n > 0 && (!found || n < lowest) { // "max" is no limit
			lowest, found = n, true
		}
		if dir == "/" {
			return lowest, found
		}
	}
}
