// Package itopsim is an iTop 3.2.0 that lives in memory: it answers
// webservices/rest.php as the recorded one did, and posts webhooks as module
// combodo-webhook-integration 1.4.6 does. It serves the demonstration, the
// tests, and an administrator who tries a contract. With the model "sumit" it
// also has the fields, stimuli and locks of SUMiT and syn/addattachment.
//
// It keeps nothing on disk and forgets everything with the process.
//
// # Doors
//
//   - /webservices/rest.php is the REST service.
//   - /console/rest.php and /portal/rest.php are the simulator's own: the same
//     protocol and accounts, acting as a person in the console or the portal.
//     Triggers limited to GUI:Console and GUI:Portal fire, last_update_by
//     becomes customer, SUMiT's locks hold ("force": true beside "operation"
//     goes round them in the console), and a created Attachment is first
//     stored without its ticket, then attached, as when a form is submitted. A
//     created InlineImage is one that is pasted into a form: it becomes the
//     ticket's when a person saves a text that shows it by data-img-id.
//   - /sim/ is for tests and people, without authentication: never expose it.
//     GET writes, sent, triggers, objects/{class}; PUT triggers, mode; POST
//     races, {"key":1,"log":"public_log","by":"agent"}: agent's next entry there
//     takes the place of the last one; and GET, POST, DELETE faults (see
//     internal/fault).
//
// An agent's click is one json_data, posted to /console/rest.php with version,
// auth_user and auth_pwd (the fixture is contracts/…/demo/itop.json):
//
//	escalate  {"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_assign","fields":{"team_id":{"name":"Team X"}}}
//	write     {"operation":"core/update","comment":"c","class":"UserRequest","key":1,"fields":{"public_log":"<p>Une précision</p>"}}
//	reopen    {"operation":"core/apply_stimulus","comment":"c","class":"UserRequest","key":1,"stimulus":"ev_reopen","fields":{"reopen_reason":"<p>Non résolu</p>"}}
//
// # What is approximated
//
//   - HTML is cleaned by a small parser that follows libxml2 and iTop's white
//     list on every text of testdata/journal-fidelity.json; other broken HTML
//     may differ.
//   - The data model holds the classes a ticket needs; a class or attribute it
//     does not know is refused as iTop refuses an unknown one.
//   - OQL: SELECT, JOIN on an attribute, WHERE with comparisons, LIKE, IN (list
//     or query), AND, OR, the date functions. NOW() is a database in UTC, as
//     the recorded one was. Text compares without regard to case, but with
//     regard to accents.
//   - Objects of one friendly name come in the order of their ids.
//   - core/get_related knows no relation, so it finds the starting objects only.
//   - core/delete deletes tickets and attachments, nothing that others point at.
//   - Triggers and actions come from the fixture, SetTriggers or /sim/triggers;
//     they are not objects that REST could create. Link sets and
//     TriggerOnPortalUpdate are not there.
//   - An inline image is tied to its ticket by the number in the text; iTop
//     does it by the temp_id of the form.
//   - Rights follow five profiles; see rights.go.
//   - A lock of the console or the portal answers an error where iTop's form
//     would hide the field.
//   - $this->html(status)$ has the console's icons of pending and resolved only.
//   - SUMiT itself was not recorded: the model "sumit" is the look-alike of
//     recordings 150 to 160. urgency_id and impact_id exist where the fixture
//     has objects of class Urgency and Impact, and follow urgency and impact.
package itopsim
