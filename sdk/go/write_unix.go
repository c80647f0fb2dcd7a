//go:build unix

package rolecall

import "syscall"

// supported says whether this system has a write that never waits.
const supported = true

// write hands the socket what it takes at once; `gone` says that nobody is at the other end.
func write(raw syscall.RawConn, data []byte) (sent int, gone bool) {
	closed := raw.Write(func(descriptor uintptr) bool {
		if isClosed(int(descriptor)) {
			gone = true
			return true
		}
		for {
			count, err := syscall.Write(int(descriptor), data)
			switch err {
			case nil:
				sent = count
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
			default:
				gone = true
			}
			return true // also if it took nothing: `false` would wait
		}
	})
	return sent, gone || closed != nil
}

// isClosed looks whether the other end is. TCP would take one more line for nobody. Nobody answers, so whatever else
// there is to read is thrown away.
func isClosed(descriptor int) bool {
	var answer [64]byte
	count, err := syscall.Read(descriptor, answer[:])
	return count == 0 && err == nil
}
