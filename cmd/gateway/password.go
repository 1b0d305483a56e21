package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"passerelle"
	logins "passerelle/internal/login"
)

func passwordCommand() *cobra.Command {
	return &cobra.Command{Use: "password", Short: "Print the hash of a password, for an account of gateway.yaml", Args: cobra.NoArgs,
		Long: `Password reads a password, one line, and prints its hash: what the file of an
account's password holds. The password itself goes to the tool that uses it, and
stays nowhere here.

  gateway password > secrets/face-password`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := readSecret(cmd, "password", logins.MinPassword)
			if err != nil {
				return fmt.Errorf("password: %w", err)
			}
			hash, err := logins.HashPassword(p)
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), hash.Reveal())
			}
			return err
		}}
}

func tokenCommand() *cobra.Command {
	given := false
	cmd := &cobra.Command{Use: "token", Short: "Make a token, and print its hash, for an account of gateway.yaml", Args: cobra.NoArgs,
		Long: `Token makes a new random token. It prints the token on the standard error, once,
for the tool that will use it, and its hash on the standard output: what the file
of an account's token holds.

  gateway token > secrets/face-token

With --given it reads a token that the tool has already, one line, and prints the
hash alone.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := logins.NewToken(), error(nil)
			if given {
				if t, err = readSecret(cmd, "token", logins.MinToken); err != nil {
					return fmt.Errorf("token: %w", err)
				}
			} else {
				fmt.Fprintln(cmd.ErrOrStderr(), "token:", t.Reveal())
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), logins.HashToken(t).Reveal())
			return err
		}}
	cmd.Flags().BoolVar(&given, "given", false, "read the token instead of making one; it must be random, for its hash is a fast one")
	return cmd
}

// readSecret reads one line: from a terminal, without showing it.
func readSecret(cmd *cobra.Command, what string, least int) (passerelle.Secret, error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && isTerminal(f) {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s (not shown): ", what)
		defer fmt.Fprintln(cmd.ErrOrStderr())
		defer echo(f, "echo")
		echo(f, "-echo")
	}
	line, err := readLine(cmd.Context(), in)
	if err != nil {
		return "", err
	}
	if utf8.RuneCountInString(line) < least {
		return "", fmt.Errorf("it has fewer than %d characters (choose a longer one; `gateway token` makes one up)", least)
	}
	return passerelle.Secret(line), nil
}

// echo switches a terminal's echo; where there is no stty it stays as it is.
func echo(f *os.File, mode string) {
	c := exec.Command("stty", mode)
	c.Stdin = f
	_ = c.Run()
}

// readLine reads the first line, or gives up with ctx: Ctrl-C must not leave the
// terminal without its echo.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() { // ends with the line, or with the program
		line, err := bufio.NewReader(in).ReadString('\n')
		read <- result{line, err}
	}()
	select {
	case r := <-read:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return "", r.err
		}
		return strings.TrimRight(r.line, "\r\n"), nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
