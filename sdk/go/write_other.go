//go:build !unix

package rolecall

import "syscall"

const supported = false

func write(syscall.RawConn, []byte) (sent int, gone bool) { return 0, true }
