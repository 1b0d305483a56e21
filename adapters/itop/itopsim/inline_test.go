package itopsim

import (
	"strings"
	"testing"
)

// An image is pasted in the console, and belongs to the ticket whose text shows
// it once that text is saved; REST cannot make one (recording 40j).
func TestInlineImages(t *testing.T) {
	_, gateway, agent, _ := demo(t)
	agent.must(newTicket)
	const paste = `{"operation":"core/create","comment":"c","class":"InlineImage","output_fields":"item_id,secret","fields":{"item_class":"UserRequest","item_id":1,"contents":{"data":"aGVsbG8=","filename":"p.png","mimetype":"image/png"}}}`
	if r := gateway.call(paste); r.Code != 100 || !strings.Contains(r.Message, "'secret' (secret) : Null not allowed") {
		t.Errorf("REST made an image: %+v", r)
	}
	if r := agent.must(paste); r.field("item_id") != "0" || r.field("secret") == "" {
		t.Errorf("a pasted image is %+v, want one without a ticket", r)
	}
	agent.must(paste)
	agent.must(`{"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"public_log":"<p>voir <img src=\"http://itop.example/x\" width=\"1\" data-img-id=\"1\" data-img-secret=\"a\"></p>"}}`)
	get := `{"operation":"core/get","class":"InlineImage","key":"SELECT InlineImage WHERE item_class='UserRequest' AND item_id=1","output_fields":"contents,temp_id"}`
	if r := gateway.must(get); len(r.Objects) != 1 || r.field("temp_id") != "" {
		t.Errorf("the ticket has the images %+v, want the first alone", r.Objects)
	}
}
