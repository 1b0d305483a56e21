package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"passerelle"
	"passerelle/adapters"
	"passerelle/internal/scenario"
	"passerelle/internal/trial"
)

func demoCommand() *cobra.Command {
	d := &demo{}
	var only []string
	cmd := &cobra.Command{Use: "demo", Short: "Play the contracts' demonstrations: two simulated tools, the gateway between them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out = cmd.OutOrStdout()
			return d.all(cmd.Context(), only)
		}}
	cmd.Flags().StringVar(&d.contracts, "contracts", "contracts", "folder of the contracts")
	cmd.Flags().StringSliceVar(&only, "contract", nil, "the contracts to play, such as name/v1 (default all that have a demonstration)")
	cmd.Flags().BoolVar(&d.keep, "keep", false, "leave all running afterwards, and say where; with one contract only")
	cmd.Flags().StringVar(&d.listen, "listen", "127.0.0.1:0", "address of the gateway's faces")
	cmd.Flags().StringVar(&d.admin, "admin", "127.0.0.1:0", "address of the gateway's admin listener")
	cmd.Flags().DurationVar(&d.patience, "patience", 20*time.Second, "how long to wait for what a side must see")
	cmd.Flags().StringVar(&d.at.requester, "requester", "127.0.0.1:0", "address of the simulated requester's tool")
	cmd.Flags().StringVar(&d.at.partner, "partner", "127.0.0.1:0", "address of the simulated partner's tool")
	return cmd
}

// demo is one demonstration: three programs in one process, talking through
// real sockets, and a real file.
type demo struct {
	contracts, contract string
	listen, admin       string
	at                  struct{ requester, partner string } // addresses of the simulators
	keep                bool
	patience            time.Duration
	out                 io.Writer
	dir                 string // of this run: configuration, secrets, database
	stage               *trial.Stage
	requester, partner  *trial.Tool
	urls                struct{ public, admin string }
}

// all plays several contracts, one after the other.
func (d *demo) all(ctx context.Context, only []string) error {
	list := only
	if len(list) == 0 {
		files, err := filepath.Glob(filepath.Join(d.contracts, "*", "*", "demo", "scenario.yaml"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("demo: no contract in %s has a demo/scenario.yaml", d.contracts)
		}
		for _, f := range files {
			version := filepath.Dir(filepath.Dir(f))
			list = append(list, filepath.Base(filepath.Dir(version))+"/"+filepath.Base(version))
		}
	}
	if d.keep && len(list) != 1 {
		return fmt.Errorf("demo: --keep leaves one contract running: say which with --contract (%s)", strings.Join(list, ", "))
	}
	for _, d.contract = range list {
		if err := d.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", d.contract, err)
		}
	}
	return nil
}

func (d *demo) run(ctx context.Context) (err error) {
	play, err := scenario.Load(os.DirFS(filepath.Join(d.contracts, d.contract)), "demo/scenario.yaml")
	if err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "passerelle-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	stop, err := d.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	err = play.Play(ctx, &scenario.Tools{Requester: d.requester, Partner: d.partner, Patience: d.patience}, &scenario.Narrator{W: d.out, Color: isTerminal(d.out)})
	if d.keep {
		d.tell()
		<-ctx.Done()
	}
	return err
}

// start runs the two simulators and the gateway; the returned function stops
// them.
func (d *demo) start(ctx context.Context) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var stops []func() error
	stop = func() error {
		cancel()
		var errs []error
		for i := len(stops) - 1; i >= 0; i-- {
			errs = append(errs, stops[i]())
		}
		return errors.Join(errs...)
	}
	if err := d.startTools(&stops); err != nil {
		return nil, errors.Join(err, stop())
	}
	c, err := d.configure()
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	logs, err := os.Create(filepath.Join(d.dir, "gateway.log"))
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { // ends with ctx
		ended <- serve(ctx, c, logs, func(public, admin string) {
			d.urls.public, d.urls.admin = "http://"+public, "http://"+admin
			close(ready)
		})
	}()
	stops = append(stops, func() error { return errors.Join(<-ended, logs.Close()) })
	select {
	case <-ready:
		return stop, errors.Join(d.requester.Point(d.face(passerelle.Requester), faceToken(passerelle.Requester)), d.partner.Point(d.face(passerelle.Partner), faceToken(passerelle.Partner)))
	case err := <-ended:
		ended <- err
		return nil, errors.Join(errors.New("the gateway did not start"), stop())
	}
}

// face is the address of a side's faces.
func (d *demo) face(side passerelle.Side) string {
	return d.urls.public + "/" + filepath.Dir(filepath.FromSlash(d.contract)) + "/" + string(side)
}

// faceToken is the example by which a side's tool and agent prove themselves.
func faceToken(side passerelle.Side) string { return "demo-" + string(side) + "-token" }

// startTools starts both simulators, without webhooks yet: the gateway's
// address is not known.
func (d *demo) startTools(stops *[]func() error) (err error) {
	if d.stage, err = trial.Load(filepath.Join(d.contracts, d.contract)); err != nil {
		return err
	}
	open := func(side passerelle.Side, addr string) (*trial.Tool, error) {
		t, err := d.stage.Open(side)
		if err != nil {
			return nil, err
		}
		*stops = append(*stops, func() error { t.Close(); return nil })
		u, end, err := trial.Serve(addr, t)
		if err != nil {
			return nil, err
		}
		*stops = append(*stops, end)
		t.URL = u
		return t, nil
	}
	if d.requester, err = open(passerelle.Requester, d.at.requester); err != nil {
		return err
	}
	d.partner, err = open(passerelle.Partner, d.at.partner)
	return err
}

// configure writes a real gateway.yaml with its secrets, and reads it back.
func (d *demo) configure() (*config, error) {
	contracts, err := filepath.Abs(d.contracts)
	if err != nil {
		return nil, err
	}
	link := linkConfig{Contract: d.contract}
	if link.Requester, err = d.stage.Connect(passerelle.Requester, d.requester.URL, faceToken(passerelle.Requester), d.secret); err != nil {
		return nil, err
	}
	if link.Partner, err = d.stage.Connect(passerelle.Partner, d.partner.URL, faceToken(passerelle.Partner), d.secret); err != nil {
		return nil, err
	}
	c := config{Listen: d.listen, Admin: d.admin, Data: filepath.Join(d.dir, "data"), Contracts: contracts, Links: []linkConfig{link}}
	c.Retry.First, c.Retry.Max, c.Retry.Age = 100*time.Millisecond, 2*time.Second, time.Hour
	b, err := yaml.MarshalWithOptions(c, yaml.OmitZero())
	if err != nil {
		return nil, err
	}
	file := filepath.Join(d.dir, "gateway.yaml")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, err
	}
	return readConfig(file)
}

// secret keeps a secret in a file of its own.
func (d *demo) secret(name, value string) (adapters.SecretRef, error) {
	file := filepath.Join(d.dir, name)
	return adapters.SecretRef{File: file}, os.WriteFile(file, []byte(value+"\n"), 0o600)
}

// tell says where everything is, for a person with curl.
func (d *demo) tell() {
	fmt.Fprint(d.out, "\n   Tout reste en marche jusqu'à Ctrl-C. / All keeps running until Ctrl-C.\n\n")
	line := func(what, where, how string) { fmt.Fprintf(d.out, "    %-18s %-62s %s\n", what, where, how) }
	for side, t := range map[passerelle.Side]*trial.Tool{passerelle.Requester: d.requester, passerelle.Partner: d.partner} {
		name, door := "iTop (simulé)", "/console/rest.php"
		if t.Kind == trial.Jira {
			name, door = "Jira (simulé)", "/rest/api/2"
		}
		line(name, t.URL+door, t.Agent.User+" / "+t.Agent.Password)
		line("passerelle", d.face(side)+"/"+adapters.RESTPath, "Auth-Token: "+faceToken(side))
	}
	line("exploitation", d.urls.admin+"/metrics", "gateway ticket NUMERO --admin "+d.urls.admin)
	line("fichiers / files", d.dir, "")
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
