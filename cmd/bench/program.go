package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// gatewayProgram builds the gateway, once a run, and returns where it lies.
var gatewayProgram = sync.OnceValues(func() (string, error) {
	var err error
	if programDir, err = os.MkdirTemp("", "bench-gateway-"); err != nil {
		return "", err
	}
	return buildGateway(programDir, profile != "")
})

// buildGateway builds it in a folder, to be profiled or as it is.
func buildGateway(dir string, profiled bool) (program string, err error) {
	program = filepath.Join(dir, "gateway")
	args := []string{"build", "-o", program}
	if profiled {
		overlay, err := overlaid(dir)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	if out, err := exec.Command("go", append(args, gatewayPackage)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return program, nil
}

const gatewayPackage = "passerelle/cmd/gateway"

var programDir string // empty until the gateway is built

// removeGateway removes what gatewayProgram built.
func removeGateway() error {
	if programDir == "" {
		return nil
	}
	return os.RemoveAll(programDir)
}

// profile is the file for a CPU profile of the gateway, "" for none. The program
// has no way to be profiled of its own: a file is laid over its sources that
// profiles it from its beginning until it gets SIGUSR1.
var profile string

const profileEnv = "PASSERELLE_BENCH_PROFILE"

//go:embed profile.go.txt
var profileSource []byte

// overlaid writes what go build -overlay wants, and returns its name.
func overlaid(dir string) (string, error) {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", gatewayPackage).Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	source, list := filepath.Join(dir, "profile.go"), filepath.Join(dir, "overlay.json")
	over, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(strings.TrimSpace(string(out)), "benchprofile.go"): source}})
	return list, errors.Join(err, os.WriteFile(source, profileSource, 0o600), os.WriteFile(list, over, 0o600))
}

// profiled has the gateway write its profile, and waits for it.
func profiled(p *os.Process) error {
	if profile == "" {
		return nil
	}
	if err := errors.Join(os.RemoveAll(profile), p.Signal(syscall.SIGUSR1)); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(profile); err == nil {
			return nil
		}
	}
	return errors.New("the gateway writes no profile")
}
