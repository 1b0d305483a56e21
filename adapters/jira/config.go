package jira

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"passerelle"
	"passerelle/internal/intake"
	"passerelle/internal/login"
)

// Config says which Jira, and under which account.
type Config struct {
	// Contract and Side say whose events these are; set by the caller.
	Contract string          `yaml:"-"`
	Side     passerelle.Side `yaml:"-"`

	BaseURL  string        `yaml:"base_url"` // Jira's address, with its context path if it has one, such as https://jira.example/jira; required
	Cloud    bool          `yaml:"cloud"`    // Jira Cloud rather than Data Center; default false
	User     string        `yaml:"user"`     // account name (Cloud: its e-mail address); default none
	Password Secret        `yaml:"password"` // of User, Data Center only; default none
	Token    Secret        `yaml:"token"`    // personal access token (Cloud: API token of User); default none
	Timeout  time.Duration `yaml:"timeout"`  // for one request; default 30s
	Transfer time.Duration `yaml:"transfer"` // for the upload or download of one file; default 10m

	Project   string `yaml:"project"`    // key of the project, where a message names none; default none
	MarkField string `yaml:"mark_field"` // field that carries the broker's own id and can be searched, such as customfield_12345 or labels; default none: a create whose answer is lost waits for a person

	AttachmentLimit int64           `yaml:"attachment_limit"` // bytes of one file that are not even tried beyond; default 0: Jira says
	TextLimit       int             `yaml:"text_limit"`       // characters of one text, as Jira's administrator set them; default 32767
	SearchDelays    []time.Duration `yaml:"search_delays"`    // waits before each search for a lost create, since Jira's index lags; default [0s, 2s, 5s, 8s]

	Intake *intake.Intake `yaml:"-"` // bounds what is taken in at a time; default one of its own

	Webhook Webhook `yaml:"webhook"` // how Jira shows that a webhook is its own; default: every webhook is refused
}

// Webhook lists what is taken as proof that a webhook comes from Jira. One
// that fits is enough, but a signature that is there must be right.
type Webhook struct {
	Secrets []Secret    `yaml:"secrets"` // of X-Hub-Signature, several while one replaces another; default none
	Door    *login.Door `yaml:"-"`       // who comes in by a token (?token= or "Authorization: Bearer") or Basic; default nobody
	Limit   int64       `yaml:"limit"`   // bytes of one webhook; default 10485760
}

// Secret is a text that prints as ***.
type Secret = passerelle.Secret

func (c Config) filled() Config {
	c.BaseURL = strings.TrimRight(strings.TrimSpace(c.BaseURL), "/")
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Transfer <= 0 {
		c.Transfer = 10 * time.Minute
	}
	if c.TextLimit <= 0 {
		c.TextLimit = 32767
	}
	if c.SearchDelays == nil {
		c.SearchDelays = []time.Duration{0, 2 * time.Second, 5 * time.Second, 8 * time.Second}
	}
	if c.Webhook.Door == nil {
		c.Webhook.Door, _ = login.NewGuard(login.Config{}).Door("", nil) // no account is wrong
	}
	if c.Intake == nil {
		c.Intake = intake.New(intake.Config{})
	}
	if c.Webhook.Limit <= 0 {
		c.Webhook.Limit = 10 << 20
	}
	return c
}

// check reports all mistakes at once.
func (c Config) check() (*url.URL, error) {
	var bad []error
	report := func(field, format string, args ...any) {
		bad = append(bad, fmt.Errorf("jira: config: %s: %s", field, fmt.Sprintf(format, args...)))
	}
	base, err := url.Parse(c.BaseURL)
	switch {
	case err != nil:
		report("base_url", "not a URL (want one such as https://jira.example/jira)")
	case base.Scheme != "http" && base.Scheme != "https" || base.Host == "":
		report("base_url", "%q is not an http or https address (want one such as https://jira.example/jira)", c.BaseURL)
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		report("base_url", "holds more than an address (give the account as user and password or token)")
	}
	if c.Password != "" && c.Token != "" {
		report("password", "given beside token (give one of the two)")
	}
	if c.User == "" && (c.Password != "" || c.Cloud && c.Token != "") {
		report("user", "missing (name the account)")
	}
	if c.Cloud && c.Password != "" {
		report("password", "not accepted by Jira Cloud (give the account's API token as token)")
	}
	for _, s := range c.Webhook.Secrets {
		if s == "" {
			report("webhook", "an empty secret (anybody could sign by it)")
		}
	}
	return base, errors.Join(bad...)
}
