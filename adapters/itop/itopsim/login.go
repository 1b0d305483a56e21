package itopsim

var errLogin = thrown(codeUnauthorized, "Invalid login")

// login finds the account: a token wins, then HTTP Basic, then the form. GET
// parameters carry a token only.
func (s *Sim) login(req *request) error {
	token := req.token
	if token == "" {
		token = req.param("auth_token")
	}
	switch {
	case token != "":
		req.account = s.byToken(token)
	case req.basic != nil:
		password, _ := req.basic.Password()
		req.account = s.byPassword(req.basic.Username(), password)
	default:
		req.account = s.byPassword(req.form.Get("auth_user"), req.form.Get("auth_pwd"))
	}
	if req.account == nil {
		return errLogin
	}
	return req.account.admitted(req.context)
}

func (s *Sim) byToken(token string) *Account {
	for _, a := range s.accounts {
		if a.Token != "" && a.Token == token {
			return a
		}
	}
	return nil
}

func (s *Sim) byPassword(login, password string) *Account {
	a := s.account(login)
	if a == nil || a.Password == "" || a.Password != password {
		return nil
	}
	return a
}

// admitted tells whether an account may come in by this door.
func (a *Account) admitted(context string) error {
	if a.has(ProfilePortal) && context != ContextPortal {
		return thrown(codeUnauthorized, "Portal user is not allowed")
	}
	if context == ContextREST && !a.has(ProfileREST) {
		return thrown(codeUnauthorized, "This user is not authorized to use the web services. (The profile %s is required to access the REST web services)", ProfileREST)
	}
	return nil
}
