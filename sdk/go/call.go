package rolecall

// What one call was: the things that make two calls equal, and what is told beside them.

import (
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/smithy-go"
)

// What makes calls equal.
type facts struct {
	kind       string // `ApiCall` or `Presign`
	service    string
	api        string
	region     string
	host       string
	key        string
	status     int
	code       string // of the service
	exception  string // of the SDK
	parameters []byte // JSON
	tooLarge   bool   // its parameters are left out
}

type call struct {
	facts
	// A program's own middleware may send one call more than once at the same time.
	mu        sync.Mutex
	attempted bool
	requestID string
	idMember  string
	begun     time.Time
	began     int64 // ms since 1970
	latency   int64 // ms
}

// beginCall reads the input here, as the program may change it when the call is over.
func beginCall(service, api string, input any) *call {
	if !isName(api) {
		api = nameOfInput(input)
	}
	parameters, fits := parametersOf(service, input)
	now := time.Now()
	return &call{
		facts: facts{kind: "ApiCall", service: service, api: api, parameters: parameters, tooLarge: !fits},
		begun: now, began: now.UnixMilli(),
	}
}

// nameOfInput is the operation by its input's type: for parts of the SDK that give no real name, as S3's presigned posts.
func nameOfInput(input any) string {
	of := reflect.TypeOf(input)
	if of == nil || of.Kind() != reflect.Pointer {
		return ""
	}
	return strings.TrimSuffix(of.Elem().Name(), "Input")
}

// takeRequest reads host, access key and region of a request that is signed; of the session token and the signature
// nothing is read. Each attempt has its own, and the last one counts.
func (c *call) takeRequest(request *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempted = true
	c.status, c.requestID, c.idMember = 0, "", ""
	if request.URL != nil {
		c.host = request.URL.Hostname()
	}
	if values := request.Header["Authorization"]; len(values) > 0 {
		if _, credential, found := strings.Cut(values[0], "Credential="); found {
			c.takeCredential(credential)
		}
	}
}

// takeCredential reads `KEY/DATE/REGION/SERVICE/aws4_request`, up to the first comma or space.
func (c *call) takeCredential(credential string) {
	if end := strings.IndexAny(credential, ", "); end >= 0 {
		credential = credential[:end]
	}
	key, scope, _ := strings.Cut(credential, "/")
	c.key = key
	// The scope of sigv4a has no region.
	if strings.Count(scope, "/") == 3 {
		_, scope, _ = strings.Cut(scope, "/")
		c.region, _, _ = strings.Cut(scope, "/")
	}
}

// takeResponse reads what one attempt was answered.
func (c *call) takeResponse(response *http.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = response.StatusCode
	if id := response.Header.Get("X-Amzn-Requestid"); id != "" {
		c.requestID, c.idMember = id, "XAmznRequestId"
	} else if id := response.Header.Get("X-Amz-Request-Id"); id != "" {
		c.requestID, c.idMember = id, "XAmzRequestId"
	}
}

// takeError reads how the call failed.
func (c *call) takeError(err error) {
	var ofService smithy.APIError
	code := ""
	if errors.As(err, &ofService) {
		code = ofService.ErrorCode()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case code == "" && c.status == 0:
		c.exception = nameOf(err)
	case code == "":
		c.code = nameOf(err)
	case c.status != 0 && (code == "UnknownError" || code == "Unknown"):
		// An answer without a body has no code; the SDK makes one up.
		c.code = strconv.Itoa(c.status)
	default:
		c.code = code
	}
}

// takePanic is for a panic of the program's own parts of the stack, which goes on.
func (c *call) takePanic() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exception = "panic"
}

// Errors that only say where another one came to light.
var wrappers = map[string]bool{
	"OperationError": true, "ResponseError": true, "MaxAttemptsError": true, "AttemptError": true, "wrapError": true,
	"wrapErrors": true, "joinError": true, "errorString": true,
}

// nameOf is the name of the first type that says what went wrong. No error's text is asked for.
func nameOf(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		of := reflect.TypeOf(err)
		for of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		if name := of.Name(); name != "" && !wrappers[name] {
			return name
		}
	}
	return "Error"
}

// takePresigned makes it a `Presign` if the result is a signed URL (of a presigner of any service) or a signed form (of
// S3's presigned posts). Their types are the SDK's own; we know them by their names.
func (c *call) takePresigned(result any) {
	value := reflect.ValueOf(result)
	if value.Kind() != reflect.Pointer || value.IsNil() || value.Elem().Kind() != reflect.Struct ||
		!strings.HasPrefix(value.Elem().Type().Name(), "Presigned") {
		return
	}
	address := value.Elem().FieldByName("URL")
	if address.Kind() != reflect.String {
		return
	}
	parsed, err := url.Parse(address.String())
	if err != nil {
		return
	}
	credential := parsed.Query().Get("X-Amz-Credential")
	if form, ok := fieldOf(value.Elem(), "Values").(map[string]string); ok {
		credential = form["X-Amz-Credential"]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kind, c.host = "Presign", parsed.Hostname()
	c.takeCredential(credential)
}

func fieldOf(structure reflect.Value, name string) any {
	if it := structure.FieldByName(name); it.IsValid() && it.CanInterface() {
		return it.Interface()
	}
	return nil
}

// end is when the call is over.
func (c *call) end() {
	c.latency = max(0, time.Since(c.begun).Milliseconds())
}

// appendIdentity writes all that makes calls equal.
func (f *facts) appendIdentity(to []byte) []byte {
	for _, text := range [...]string{f.kind, f.service, f.api, f.region, f.host, f.key, f.code, f.exception} {
		to = append(append(to, text...), 0)
	}
	to = append(strconv.AppendInt(to, int64(f.status), 10), 0)
	to = append(to, f.parameters...)
	if f.tooLarge {
		to = append(to, 0)
	}
	return to
}

// kept is a copy that holds nothing of the program's requests and errors.
func (f facts) kept() facts {
	f.region, f.host, f.key = strings.Clone(f.region), strings.Clone(f.host), strings.Clone(f.key)
	f.code, f.exception = strings.Clone(f.code), strings.Clone(f.exception)
	return f
}

func (c *call) wasAttempted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attempted
}
