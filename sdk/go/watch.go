// Package rolecall tells the host's agent which AWS API calls a program makes. One line after the configuration is loaded:
//
//	rolecall.Watch(&cfg)
//	defer rolecall.End()
//
// Or none at all: the command in overlay puts it into a program while that is built.
package rolecall

import "github.com/aws/aws-sdk-go-v2/aws"

// Watch has every client that is made of the configuration told of.
func Watch(configuration *aws.Config) {
	configuration.APIOptions = append(configuration.APIOptions, attach)
}

// Flush tells what is counted so far, within a fifth of a second: where a process may be frozen or killed.
func Flush() { finish("Losses") }

// End does the same, and tells that the process ends in good order: for `defer` in main.
func End() { finish("Bye") }
