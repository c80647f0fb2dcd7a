package rolecall

import _ "embed"

// A copy of conformance/calls/rules.json, which a test compares.
//
//go:embed rules.json
var rulesText string
