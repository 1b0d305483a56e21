// Package conversation reads and plays a contract's conversations: text files
// that say what people do in their tools and, word for word, what the other
// tool must hear. They are played through the real adapters, relay and store,
// against simulated tools, so that a contract's author can read, check and sign
// them.
//
// A conversation is a txtar archive. Its comment says what it shows and which
// rules. Its sections are played in order, the name says what each is:
//
//	-- with contract.yaml --  keys that stand in for the contract's own, or
//	                          another file as a whole: to show a switch, or
//	                          with demo/stage.yaml other tools
//	-- requester does --      what the agent does there. At an iTop: a JSON
//	-- partner does --        operation of its REST, done at the console. At a
//	                          Jira: "POST /path", an empty line, the JSON body
//	                          (or "file: name" and a text). The tool pushes it
//	-- partner is away --     from here on the tool answers none of the
//	-- partner is busy --     gateway's writes, or says to each that it did
//	-- partner is back --     nothing, until it is back
//	-- requester says --      JSON posted to the gateway's face for that side
//	-- partner says --        as if its tool or agent had sent it
//	-- … is told --           the face's answer to what was just said
//	-- requester hears --     every write that reached the tool since the last
//	-- partner hears --       step, as it was on the wire
//	-- end --                 how the pair and both tickets stand at the end
//
// A section that is missing means silence: a tool that hears something where
// the conversation has no "hears" fails it. $TICKET, $NUMBER, $ISSUE, $ISSUEID
// and $OWN stand for the references of the pair, $BYTES(1000) for a file of a
// thousand bytes, in base64.
package conversation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"

	"passerelle"
	"passerelle/internal/trial"
)

// Play plays one file of a contract folder and returns what it should read:
// the same sections, with what was really told, heard and found.
func Play(ctx context.Context, dir, file string) (want, got []byte, err error) {
	want, err = os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil, nil, err
	}
	script := txtar.Parse(want)
	r, err := newRig(ctx, dir, with(script))
	if err != nil {
		return nil, nil, err
	}
	played, err := r.play(script)
	err = errors.Join(err, r.close())
	if err != nil {
		return want, nil, fmt.Errorf("%s: %w", file, err)
	}
	return want, txtar.Format(played), nil
}

// Files lists the conversations of a contract folder.
func Files(dir string) ([]string, error) {
	names, err := fs.Glob(os.DirFS(dir), "testdata/*.txtar")
	return names, err
}

// play acts the sections out.
func (r *rig) play(script *txtar.Archive) (*txtar.Archive, error) {
	out := &txtar.Archive{Comment: script.Comment}
	add := func(name, text string) {
		if text != "" {
			out.Files = append(out.Files, txtar.File{Name: name, Data: []byte(strings.TrimRight(text, "\n") + "\n")})
		}
	}
	for _, f := range script.Files {
		side, verb, _ := strings.Cut(f.Name, " ")
		if side == "with" {
			out.Files = append(out.Files, f)
			continue
		}
		if verb == "is away" || verb == "is busy" || verb == "is back" {
			out.Files = append(out.Files, f)
			err := r.is(passerelle.Side(side), verb == "is away")
			if verb == "is busy" {
				r.ears[passerelle.Side(side)].busy()
			}
			if err != nil {
				return nil, fmt.Errorf("after « %s »: %w", f.Name, err)
			}
			r.hears(add)
			continue
		}
		if verb != "does" && verb != "says" {
			if !known(side, verb) {
				return nil, fmt.Errorf("section %q: a section is « with FILE », « requester|partner does|says|is told|is away|is busy|is back|hears », or « end »", f.Name)
			}
			continue // what is told and heard comes from the play itself
		}
		out.Files = append(out.Files, f)
		told, err := r.act(passerelle.Side(side), verb, string(f.Data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if err := r.settle(); err != nil {
			return nil, fmt.Errorf("after « %s »: %w", f.Name, err)
		}
		if verb == "says" {
			add(side+" is told", r.plain(told))
		}
		r.hears(add)
	}
	end, err := r.end()
	add("end", r.plain(end))
	return out, err
}

// hears adds what reached both tools.
func (r *rig) hears(add func(name, text string)) {
	for _, side := range trial.Sides {
		add(string(side)+" hears", r.plain(r.ears[side].heard()))
	}
}

func known(side, verb string) bool {
	if side == "end" && verb == "" {
		return true
	}
	return (side == string(passerelle.Requester) || side == string(passerelle.Partner)) && (verb == "is told" || verb == "hears")
}
