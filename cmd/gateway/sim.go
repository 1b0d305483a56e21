package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"passerelle/internal/trial"
)

func simCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "sim", Short: "Run a simulated tool to try a contract against"}
	cmd.AddCommand(simITopCommand(), simJiraCommand())
	return cmd
}

// simFlags are what both simulators ask for.
type simFlags struct{ listen, dir, face, secret string }

func (f *simFlags) add(cmd *cobra.Command, port, secret, what string) {
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:"+port, "address, on this machine only")
	cmd.Flags().StringVar(&f.dir, "contract", "contracts/orleans-tours-gar/v1", "contract folder whose demo data it holds")
	cmd.Flags().StringVar(&f.face, "face", "", "URL of the gateway's face for it; without it nothing is pushed")
	cmd.Flags().StringVar(&f.secret, "secret", secret, what)
}

func simITopCommand() *cobra.Command {
	f := &simFlags{}
	cmd := &cobra.Command{Use: "itop", Short: "Run a simulated iTop 3.2.0", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		sim, err := trial.ITop(f.dir, f.face, f.secret)
		if err != nil {
			return err
		}
		defer sim.Close()
		return f.serve(cmd, "iTop", sim)
	}}
	f.add(cmd, "8090", demoFaceToken, "the token that its webhooks give")
	return cmd
}

func simJiraCommand() *cobra.Command {
	f := &simFlags{}
	cmd := &cobra.Command{Use: "jira", Short: "Run a simulated Jira Data Center", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		sim, err := trial.Jira(f.dir, f.face, f.secret)
		if err != nil {
			return err
		}
		defer sim.Close()
		return f.serve(cmd, "Jira", sim)
	}}
	f.add(cmd, "8091", demoHookSecret, "the secret that signs its webhooks")
	return cmd
}

func (f *simFlags) serve(cmd *cobra.Command, name string, h http.Handler) error {
	url, stop, err := trial.Serve(f.listen, h)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "simulated %s on %s (its own doors: %s/sim/)\n", name, url, url)
	<-cmd.Context().Done()
	return stop()
}
