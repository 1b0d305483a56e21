package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"passerelle"
	"passerelle/internal/trial"
)

// simCommand runs one of a contract's two tools, simulated.
func simCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "sim", Short: "Run a simulated tool to try a contract against"}
	cmd.AddCommand(simKind(trial.ITop, "8090", "Run a simulated iTop 3.2.0"), simKind(trial.Jira, "8091", "Run a simulated Jira Data Center"))
	return cmd
}

func simKind(kind, port, short string) *cobra.Command {
	var listen, dir, side, face, secret string
	cmd := &cobra.Command{Use: kind, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		t, err := simulated(dir, kind, side)
		if err != nil {
			return err
		}
		defer t.Close()
		if face != "" {
			if err := t.Point(face, secret); err != nil {
				return err
			}
		}
		url, stop, err := trial.Serve(listen, t)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "simulated %s on %s (its own doors: %s/sim/)\n", kind, url, url)
		<-cmd.Context().Done()
		return stop()
	}}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:"+port, "address, on this machine only")
	cmd.Flags().StringVar(&dir, "contract", "", "contract folder whose demo data it holds, such as contracts/NAME/v1 (required)")
	cmd.Flags().StringVar(&side, "side", "", "requester or partner, where both have such a tool")
	cmd.Flags().StringVar(&face, "face", "", "URL of the gateway's faces for it, http://HOST:PORT/CONTRACT/SIDE; without it nothing is pushed")
	cmd.Flags().StringVar(&secret, "secret", "demo-token", "what its webhooks prove themselves by: an iTop's token, a Jira's signing secret")
	_ = cmd.MarkFlagRequired("contract") // the flag exists
	return cmd
}

// simulated opens the tool of that kind on a contract's stage.
func simulated(dir, kind, side string) (*trial.Tool, error) {
	s, err := trial.Load(dir)
	if err != nil {
		return nil, err
	}
	var found []passerelle.Side
	for _, one := range trial.Sides {
		if s.Role(one).Kind == kind && (side == "" || side == string(one)) {
			found = append(found, one)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%s: %d of its tools are %s (name one with --side requester or --side partner)", dir, len(found), kind)
	}
	return s.Open(found[0])
}
