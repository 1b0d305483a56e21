package jirasim_test

import (
	"fmt"
	"strings"
	"testing"
)

const internalComment = `{"body":"secret","properties":[{"key":"sd.public.comment","value":{"internal":true}}]}`

// An internal comment is there for agents and nowhere for customers.
func TestCustomersDoNotSeeInternalComments(t *testing.T) {
	agent := small(t, nil)
	customer := agent.as("customer", "customer-pw")
	key := agent.open("")
	id := agent.want(201, "POST", "/rest/api/2/issue/"+key+"/comment", internalComment).at("id").(string)
	agent.want(201, "POST", "/rest/api/2/issue/"+key+"/comment", `{"body":"open"}`)
	agent.want(201, "POST", "/rest/api/2/issue/"+key+"/comment", `{"body":"for a role","visibility":{"type":"role","value":"Developers"}}`)
	for _, c := range []struct {
		who   *bench
		total float64
		code  int
	}{{agent, 3, 200}, {customer, 1, 404}} {
		c.who.equal(c.who.want(200, "GET", "/rest/api/2/issue/"+key+"/comment", "").at("total"), c.total)
		c.who.equal(c.who.field(key, "comment").(map[string]any)["total"], c.total)
		c.who.want(c.code, "GET", "/rest/api/2/issue/"+key+"/comment/"+id, "")
		c.who.want(c.code, "GET", "/rest/api/2/comment/"+id+"/properties/sd.public.comment", "")
		rendered := c.who.want(200, "GET", "/rest/api/2/issue/"+key+"?expand=renderedFields", "")
		if strings.Contains(rendered.text, "secret") != (c.code == 200) {
			t.Errorf("total %v: the rendered comments tell the wrong thing", c.total)
		}
	}
}

func TestDataCenterHasNoJsdPublic(t *testing.T) {
	dc := small(t, nil)
	key := dc.open("")
	got := dc.want(201, "POST", "/rest/api/2/issue/"+key+"/comment", internalComment)
	if _, has := got.json["jsdPublic"]; has {
		t.Error("Data Center told jsdPublic")
	}
	cl := small(t, cloud).cloudRobot()
	key = cl.open("")
	got = cl.want(201, "POST", "/rest/api/2/issue/"+key+"/comment", internalComment)
	cl.equal(got.at("jsdPublic"), false)
}

func TestCommentRefusals(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	for body, says := range map[string]string{
		`{"body":""}`: "Comment body can not be empty!",
		`{}`:          "Comment body can not be empty!",
		`{"body":"` + strings.Repeat("x", 201) + `"}`:            "The entered text is too long. It exceeds the allowed limit of 200 characters.",
		`{"body":{"type":"doc"}}`:                                "Operation value must be a string",
		`{"body":"x","visibility":{"type":"user","value":"me"}}`: "The visibility type must be 'role' or 'group'.",
	} {
		got := b.want(400, "POST", "/rest/api/2/issue/"+key+"/comment", body)
		if !strings.Contains(got.text, says) {
			t.Errorf("%s: got %s, want %s", body, got.text, says)
		}
	}
	b.want(404, "POST", "/rest/api/2/issue/ONE-99/comment", `{"body":"x"}`)
	b.want(404, "GET", "/rest/api/2/issue/"+key+"/comment/99", "")
	b.equal(b.kinds(), map[string]int{"issue": 1})
}

func TestCommentEditedAndDeleted(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	path := "/rest/api/2/issue/" + key + "/comment"
	id := b.want(201, "POST", path, `{"body":"first *bold*"}`).at("id").(string)
	b.as("customer", "customer-pw").want(403, "PUT", path+"/"+id, `{"body":"mine"}`)
	b.as("customer", "customer-pw").want(403, "DELETE", path+"/"+id, "")
	b.as("agent", "agent-pw").want(200, "PUT", path+"/"+id, `{"body":"second *bold*"}`)
	got := b.want(200, "GET", path+"/"+id+"?expand=renderedBody,properties", "")
	b.equal([]any{got.at("author", "name"), got.at("updateAuthor", "name"), got.at("renderedBody")}, []any{"robot", "agent", "<p>second <b>bold</b></p>"})
	b.want(204, "DELETE", path+"/"+id, "")
	b.want(404, "GET", path+"/"+id, "")
	b.equal(b.kinds(), map[string]int{"issue": 1, "comment": 1, "comment-edit": 1, "comment-delete": 1})
}

func TestCommentsComeInPages(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	for i := range 60 {
		b.want(201, "POST", "/rest/api/2/issue/"+key+"/comment", fmt.Sprintf(`{"body":"n%d"}`, i))
	}
	first := b.want(200, "GET", "/rest/api/2/issue/"+key+"/comment", "")
	b.equal([]any{len(first.at("comments").([]any)), first.at("total")}, []any{50, 60})
	last := b.want(200, "GET", "/rest/api/2/issue/"+key+"/comment?startAt=59&orderBy=-created", "")
	b.equal(last.at("comments", 0, "body"), "n0")
}

func TestProperties(t *testing.T) {
	b := small(t, nil)
	key := b.open("")
	id := b.want(201, "POST", "/rest/api/2/issue/"+key+"/comment", internalComment).at("id").(string)
	for _, path := range []string{"/rest/api/2/issue/" + key + "/properties", "/rest/api/2/comment/" + id + "/properties"} {
		b.want(404, "GET", path+"/mark", "")
		b.want(201, "PUT", path+"/mark", `{"id":7}`)
		b.want(200, "PUT", path+"/mark", `{"id":8}`)
		b.equal(b.want(200, "GET", path+"/mark", "").json, map[string]any{"key": "mark", "value": map[string]any{"id": 8}})
		if got := b.want(200, "GET", path, ""); !strings.Contains(got.text, `"mark"`) {
			t.Errorf("keys: %s", got.text)
		}
		b.want(400, "PUT", path+"/mark", `{"id":`)
		b.want(400, "PUT", path+"/"+strings.Repeat("k", 256), `1`)
		b.want(400, "PUT", path+"/mark", `"`+strings.Repeat("v", 32768)+`"`)
		b.want(204, "DELETE", path+"/mark", "")
		b.want(404, "DELETE", path+"/mark", "")
	}
	b.want(201, "PUT", "/rest/api/2/issue/"+key+"/properties/a", `"x"`)
	got := b.want(200, "GET", "/rest/api/2/issue/"+key+"?properties=*all", "")
	b.equal(got.at("properties"), map[string]any{"a": "x"})
}
