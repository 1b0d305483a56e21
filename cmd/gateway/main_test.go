package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts run the program as a command, "gateway".
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gateway": main})
}

// TestScripts shows the program from the outside: its commands, real sockets,
// a real file, signals.
func TestScripts(t *testing.T) {
	contracts, err := filepath.Abs("../../contracts")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("CONTRACTS", contracts)
			for _, name := range []string{"PUBLIC", "ADMIN", "ITOP", "JIRA"} {
				e.Setenv(name, freeAddress(t))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "post": post, "get": get, "console": console, "put": put, "clear": clearFaults,
		},
	})
}

// freeAddress is a loopback address that nobody listens on just now.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestExampleConfig: the example is complete and is what the program reads.
func TestExampleConfig(t *testing.T) {
	b, err := os.ReadFile("../../gateway.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseConfig(b)
	if err != nil {
		t.Fatalf("gateway.example.yaml%v", err)
	}
	if len(c.Links) == 0 {
		t.Fatal("the example carries out no contract")
	}
	for _, key := range keysOf(*c) {
		if !mentions(b, key) {
			t.Errorf("gateway.example.yaml does not show %q", key)
		}
	}
}

// TestAdminAddressNeedsAToken: whatever can be reached from elsewhere.
func TestAdminAddressNeedsAToken(t *testing.T) {
	for addr, alone := range map[string]bool{"127.0.0.1:8081": true, "127.3.2.1:0": true, "[::1]:8081": true, "localhost:8081": true, "[::ffff:127.0.0.1]:1": true,
		":8081": false, "0.0.0.0:8081": false, "[::]:8081": false, "10.0.0.1:8081": false, "gateway.example:8081": false} {
		_, err := parseConfig([]byte("admin: \"" + addr + "\"\nlinks: [{contract: a/v1}]"))
		if (err == nil) != alone {
			t.Errorf("%s without a token: %v", addr, err)
		}
		if _, err := parseConfig([]byte("admin: \"" + addr + "\"\nadmin_token: {file: f}\nlinks: [{contract: a/v1}]")); err != nil {
			t.Errorf("%s with a token: %v", addr, err)
		}
	}
}
