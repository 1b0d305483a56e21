package jirasim_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	gojira "github.com/andygrunwald/go-jira"

	"passerelle/adapters/jira/jirasim"
)

// An independent client finds its way: nobody here wrote it.
func TestIndependentClient(t *testing.T) {
	b := small(t, func(fx *jirasim.Fixture) { fx.ContextPath = "/jira" })
	server := httptest.NewServer(b.sim)
	defer server.Close()
	pat := gojira.PATAuthTransport{Token: "robot-token"}
	client, err := gojira.NewClient(pat.Client(), server.URL+"/jira/")
	if err != nil {
		t.Fatal(err)
	}
	key := clientCreates(t, client)
	clientComments(t, client, key)
	clientMoves(t, client, key)
	clientAttaches(t, client, key)
	clientSearches(t, client, key)
	if _, err := client.Issue.Delete(key); err != nil {
		t.Fatal(err)
	}
	_, resp, err := client.Issue.Get(key, nil)
	if err == nil || resp.StatusCode != http.StatusNotFound || !strings.Contains(err.Error(), "Issue Does Not Exist") {
		t.Errorf("a deleted issue: %v", err)
	}
}

func clientCreates(t *testing.T, client *gojira.Client) string {
	made, _, err := client.Issue.Create(&gojira.Issue{Fields: &gojira.IssueFields{
		Project: gojira.Project{Key: "ONE"}, Type: gojira.IssueType{Name: "Request"}, Summary: "From go-jira",
		Description: "*wiki*", Priority: &gojira.Priority{Name: "High"}, Labels: []string{"frs:1"},
		Components: []*gojira.Component{{Name: "Beta"}}, Reporter: &gojira.User{Name: "Generic Reporter"},
		Unknowns: map[string]any{"customfield_1": "R-1", "customfield_3": map[string]string{"value": "Fast"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := client.Issue.Get(made.Key, &gojira.GetQueryOptions{Expand: "renderedFields,changelog"})
	if err != nil {
		t.Fatal(err)
	}
	f := got.Fields
	if f.Summary != "From go-jira" || f.Status.Name != "New" || f.Priority.Name != "High" || f.Components[0].Name != "Beta" ||
		f.Reporter.Name != "Generic Reporter" || f.Project.Key != "ONE" || f.Labels[0] != "frs:1" || f.Unknowns["customfield_1"] != "R-1" {
		t.Errorf("read back: %+v", f)
	}
	if got.RenderedFields.Description != "<p><b>wiki</b></p>" {
		t.Errorf("rendered: %q", got.RenderedFields.Description)
	}
	_, resp, err := client.Issue.Create(&gojira.Issue{Fields: &gojira.IssueFields{Project: gojira.Project{Key: "NIX"}}})
	if err == nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(gojira.NewJiraError(resp, err).Error(), "400") {
		t.Errorf("an unknown project: %v", err)
	}
	return made.Key
}

func clientComments(t *testing.T, client *gojira.Client, key string) {
	made, _, err := client.Issue.AddComment(key, &gojira.Comment{Body: "first"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.Issue.UpdateComment(key, &gojira.Comment{ID: made.ID, Body: "second"}); err != nil {
		t.Fatal(err)
	}
	got, _, err := client.Issue.Get(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if list := got.Fields.Comments.Comments; len(list) != 1 || list[0].Body != "second" || list[0].Author.Name != "robot" {
		t.Errorf("comments: %+v", list)
	}
}

func clientMoves(t *testing.T, client *gojira.Client, key string) {
	list, _, err := client.Issue.GetTransitions(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		if one.To.Name == "Waiting" {
			if _, err := client.Issue.DoTransition(key, one.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, _, err := client.Issue.Get(key, &gojira.GetQueryOptions{Expand: "changelog"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Fields.Status.Name != "Waiting" || got.Changelog.Histories[0].Items[0].ToString != "Waiting" {
		t.Errorf("status %q, changelog %+v", got.Fields.Status.Name, got.Changelog)
	}
	if _, err := client.Issue.DoTransition(key, "21"); err == nil {
		t.Error("a transition that is not possible now was made")
	}
}

func clientAttaches(t *testing.T, client *gojira.Client, key string) {
	list, _, err := client.Issue.PostAttachment(key, strings.NewReader("content"), "file.txt")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Issue.DownloadAttachment((*list)[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "content" || (*list)[0].Filename != "file.txt" {
		t.Errorf("file %+v holds %q", (*list)[0], body)
	}
}

func clientSearches(t *testing.T, client *gojira.Client, key string) {
	list, resp, err := client.Issue.Search(`project = ONE AND labels = "frs:1" ORDER BY updated ASC`, &gojira.SearchOptions{MaxResults: 10, Fields: []string{"summary", "updated"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || resp.Total != 1 || list[0].Key != key || list[0].Fields.Summary != "From go-jira" {
		t.Errorf("found %+v", list)
	}
	if _, _, err := client.Issue.Search("nix = 1", nil); err == nil {
		t.Error("a wrong query was answered")
	}
	me, _, err := client.User.GetSelf()
	if err != nil || me.Name != "robot" {
		t.Errorf("myself: %+v, %v", me, err)
	}
}

func TestIndependentClientOnCloud(t *testing.T) {
	b := small(t, cloud)
	key := b.cloudRobot().open("")
	server := httptest.NewServer(b.sim)
	defer server.Close()
	basic := gojira.BasicAuthTransport{Username: "robot@jira.example", Password: "robot-token"}
	client, err := gojira.NewClient(basic.Client(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	list, resp, err := client.Issue.SearchV2JQL("project = ONE", &gojira.SearchOptionsV2{Fields: []string{"summary"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Key != key || list[0].Fields.Summary != "A summary" || !resp.IsLast {
		t.Errorf("found %+v", list)
	}
}
