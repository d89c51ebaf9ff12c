// Frames through the verifier of the Go relay (VerifyRepoCommit, strict), over and over on one thread.
//
// Arguments: a file of frames (each behind four bytes of length, little-endian), a JSON file from DID to multikey, and
// seconds. Prints {"wall": frames/s, "cpu": frames a second of CPU}. The keys are at hand, nothing is asked or stored.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/bluesky-social/indigo/cmd/relay/relay"
	"github.com/bluesky-social/indigo/cmd/relay/stream"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func cpu() float64 {
	var used syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	seconds := func(value syscall.Timeval) float64 { return float64(value.Sec) + float64(value.Usec)/1e6 }
	return seconds(used.Utime) + seconds(used.Stime)
}

type warned struct{ slog.Handler }

// The relay lets a commit that does not invert pass with a warning: here it would be a fault of the measurement.
func (warned) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (warned) Handle(_ context.Context, record slog.Record) error {
	must(fmt.Errorf("the relay warns: %s", record.Message))
	return nil
}
func (w warned) WithAttrs([]slog.Attr) slog.Handler { return w }
func (w warned) WithGroup(string) slog.Handler      { return w }

func main() {
	runtime.GOMAXPROCS(1)
	slog.SetDefault(slog.New(warned{}))
	data, err := os.ReadFile(os.Args[1])
	must(err)
	text, err := os.ReadFile(os.Args[2])
	must(err)
	keys := map[string]string{}
	must(json.Unmarshal(text, &keys))
	seconds, err := strconv.ParseFloat(os.Args[3], 64)
	must(err)
	var frames [][]byte
	for len(data) > 0 {
		size := binary.LittleEndian.Uint32(data)
		frames = append(frames, data[4:4+size])
		data = data[4+size:]
	}
	idents := map[string]*identity.Identity{}
	for did, key := range keys {
		method := identity.VerificationMethod{Type: "Multikey", PublicKeyMultibase: key}
		idents[did] = &identity.Identity{
			DID:  syntax.DID(did),
			Keys: map[string]identity.VerificationMethod{"atproto": method},
		}
	}
	verifier := &relay.Relay{Logger: slog.Default()}
	ctx := context.Background()
	count, begin, used := 0, time.Now(), cpu()
	for time.Since(begin).Seconds() < seconds {
		for _, frame := range frames {
			reader := bytes.NewReader(frame)
			var header stream.EventHeader
			must(header.UnmarshalCBOR(reader))
			var message comatproto.SyncSubscribeRepos_Commit
			must(message.UnmarshalCBOR(reader))
			_, err := verifier.VerifyRepoCommit(ctx, &message, idents[message.Repo], nil, "host")
			must(err)
			count++
		}
	}
	wall := time.Since(begin).Seconds()
	fmt.Printf("{\"wall\": %.1f, \"cpu\": %.1f}\n", float64(count)/wall, float64(count)/(cpu()-used))
}
