package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"passerelle/adapters/itop/itopsim"
	"passerelle/adapters/jira/jirasim"
	"passerelle/internal/scenario"
	"passerelle/internal/trial"
)

func demoCommand() *cobra.Command {
	d := &demo{}
	cmd := &cobra.Command{Use: "demo", Short: "Play a contract's demonstration: two simulated tools, the gateway between them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out = cmd.OutOrStdout()
			return d.run(cmd.Context())
		}}
	cmd.Flags().StringVar(&d.contracts, "contracts", "contracts", "folder of the contracts")
	cmd.Flags().StringVar(&d.contract, "contract", "orleans-tours-gar/v1", "the contract to play")
	cmd.Flags().BoolVar(&d.keep, "keep", false, "leave all running afterwards, and say where")
	cmd.Flags().StringVar(&d.listen, "listen", "127.0.0.1:0", "address of the gateway's faces")
	cmd.Flags().StringVar(&d.admin, "admin", "127.0.0.1:0", "address of the gateway's admin listener")
	cmd.Flags().DurationVar(&d.patience, "patience", 20*time.Second, "how long to wait for what a side must see")
	cmd.Flags().StringVar(&d.at.itop, "itop", "127.0.0.1:0", "address of the simulated iTop")
	cmd.Flags().StringVar(&d.at.jira, "jira", "127.0.0.1:0", "address of the simulated Jira")
	return cmd
}

// demo is one demonstration: three programs in one process, talking through
// real sockets, and a real file.
type demo struct {
	contracts, contract string
	listen, admin       string
	at                  struct{ itop, jira string } // addresses of the simulators
	keep                bool
	patience            time.Duration
	out                 io.Writer
	dir                 string // of this run: configuration, secrets, database
	itop                *itopsim.Sim
	jira                *jirasim.Sim
	urls                struct{ itop, jira, public, admin string }
}

// The example accounts of the demonstration's simulators and faces.
const (
	demoFaceToken   = "demo-requester-token"
	demoHookSecret  = "demo-webhook-secret"
	demoAgentToken  = "demo-partner-agent-token"
	demoITopAccount = "demo-itop-gateway"
	demoJiraToken   = "demo-jira-gateway-token"
)

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
	err = play.Play(ctx, &scenario.Tools{Requester: d.urls.itop, Partner: d.urls.jira, Patience: d.patience}, &scenario.Narrator{W: d.out, Color: isTerminal(d.out)})
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
		return stop, d.point()
	case err := <-ended:
		ended <- err
		return nil, errors.Join(errors.New("the gateway did not start"), stop())
	}
}

// startTools starts both simulators, without webhooks yet: the gateway's
// address is not known.
func (d *demo) startTools(stops *[]func() error) (err error) {
	dir := filepath.Join(d.contracts, d.contract)
	if d.itop, err = trial.ITop(dir, "", ""); err != nil {
		return err
	}
	*stops = append(*stops, func() error { d.itop.Close(); return nil })
	if d.jira, err = trial.Jira(dir, "", ""); err != nil {
		return err
	}
	*stops = append(*stops, func() error { d.jira.Close(); return nil })
	var end func() error
	if d.urls.itop, end, err = trial.Serve(d.at.itop, d.itop); err != nil {
		return err
	}
	*stops = append(*stops, end)
	if d.urls.jira, end, err = trial.Serve(d.at.jira, d.jira); err != nil {
		return err
	}
	*stops = append(*stops, end)
	return nil
}

// point has the tools' webhooks go to the gateway's faces.
func (d *demo) point() error {
	dir := filepath.Join(d.contracts, d.contract)
	name := filepath.Dir(filepath.FromSlash(d.contract))
	triggers, err := trial.Triggers(dir, d.urls.public+"/"+name+"/requester/webservices/rest.php", demoFaceToken)
	if err != nil {
		return err
	}
	d.itop.SetTriggers(triggers)
	d.jira.SetWebhooks(trial.Webhooks(d.urls.public+"/"+name+"/partner/webhook", demoHookSecret))
	return nil
}

// configure writes a real gateway.yaml with its secrets, and reads it back.
func (d *demo) configure() (*config, error) {
	contracts, err := filepath.Abs(d.contracts)
	if err != nil {
		return nil, err
	}
	for name, secret := range map[string]string{"face": demoFaceToken, "hook": demoHookSecret, "agent": demoAgentToken, "itop": demoITopAccount, "jira": demoJiraToken} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(secret+"\n"), 0o600); err != nil {
			return nil, err
		}
	}
	text := fmt.Sprintf(`listen: %[2]s
admin: %[3]s
data: %[1]s/data
contracts: %[4]s
retry: {first: 100ms, max: 2s, age: 1h}
links:
  - contract: %[5]s
    requester:
      itop: {base_url: %[6]s, user: gateway, password: {file: %[1]s/itop}, accounts: [{token: {file: %[1]s/face}}]}
    partner:
      jira: {base_url: %[7]s, token: {file: %[1]s/jira}, mark_field: customfield_12005, search_delays: [0s, 200ms], webhook: {secrets: [{file: %[1]s/hook}]}}
      agent: {accounts: [{token: {file: %[1]s/agent}}]}
`, d.dir, d.listen, d.admin, contracts, d.contract, d.urls.itop, d.urls.jira)
	file := filepath.Join(d.dir, "gateway.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return readConfig(file)
}

// tell says where everything is, for a person with curl.
func (d *demo) tell() {
	name := filepath.Dir(filepath.FromSlash(d.contract))
	fmt.Fprintf(d.out, `
   Tout reste en marche jusqu'à Ctrl-C. / All keeps running until Ctrl-C.

    iTop (simulé)      %s/console/rest.php     agent / demo-itop-agent
    Jira (simulé)      %s/rest/api/2           agent-gar / demo-jira-agent
    passerelle         %s/%s/requester/webservices/rest.php     Auth-Token: %s
                       %s/%s/partner/webservices/rest.php       Auth-Token: %s
    exploitation       %s/metrics · gateway ticket GSN1-1 --admin %s
    fichiers / files   %s

`, d.urls.itop, d.urls.jira, d.urls.public, name, demoFaceToken, d.urls.public, name, demoAgentToken, d.urls.admin, d.urls.admin, d.dir)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
