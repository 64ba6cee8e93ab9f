package cli

import (
	"io"
	"log/slog"
)

// NewLog returns a log for operators: a line for each record, with its level if that is a warning or worse.
func NewLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		level, ok := a.Value.Any().(slog.Level)
		if len(groups) == 0 && (a.Key == slog.TimeKey || ok && level < slog.LevelWarn) {
			return slog.Attr{}
		}
		return a
	}}))
}
