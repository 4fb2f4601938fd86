// How fast Prometheus' own parser reads the pages that `metricsd-benches parse --write DIR` wrote, by processor time.
//
//	go mod init parse_peer && go get github.com/prometheus/prometheus@v0.311.0 && go mod tidy && go build -o parse_peer .
//	GOMAXPROCS=1 ./parse_peer 'text/plain; version=0.0.4' DIR/text.txt
//
// "lines known" looks at values alone, as a scrape does of series that are in its cache; "a first time" takes labels apart too.
// Collecting garbage is part of the time.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// read answers how many samples a page holds.
func read(page []byte, contentType string, symbols *labels.SymbolTable, takeApart bool) (int, error) {
	parser, err := textparse.New(page, contentType, symbols, textparse.ParserOptions{})
	if parser == nil {
		return 0, err
	}
	samples := 0
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return samples, nil
		}
		if err != nil {
			return samples, err
		}
		switch entry {
		case textparse.EntrySeries:
			parser.Series()
		case textparse.EntryHistogram:
			parser.Histogram()
		default:
			continue
		}
		samples++
		if takeApart {
			var set labels.Labels
			parser.Labels(&set)
		}
	}
}

func main() {
	contentType := os.Args[1]
	for _, path := range os.Args[2:] {
		page, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		for _, takeApart := range []bool{false, true} {
			symbols := labels.NewSymbolTable()
			started, rounds, samples := processorTime(), 0, 0
			for processorTime()-started < 2*time.Second {
				if samples, err = read(page, contentType, symbols, takeApart); err != nil {
					panic(err)
				}
				rounds++
			}
			each := (processorTime() - started).Seconds() / float64(rounds)
			what := "lines known"
			if takeApart {
				what = "a first time"
			}
			fmt.Printf("%s, %d samples, %s: %.0f MB/s, %.2f M samples/s\n", path, samples, what,
				float64(len(page))/1e6/each, float64(samples)/1e6/each)
		}
	}
}
