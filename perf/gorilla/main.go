// perf/gorilla — a WebSocket server as one writes it in Go with gorilla/websocket: what perf/compare and perf/leak stand beside.
//
//	gorilla -listen 127.0.0.1:P [-certificate FILE -key FILE] [-heartbeat 30s] [-forgets]
//
//	/echo              sends back what it gets
//	/live?patient=P    a heartbeat, and what is pushed to P
//	POST /push/P       the body to every socket of P; answered with how many, once it is in all their queues
//	/figures           goroutines and the runtime's memory, as JSON
//
// Each socket has a goroutine that reads and one that waits for something to send. In the repaired form both hang on one
// context, so the end of either ends the other, and a client who answers no heartbeat runs into a deadline. With -forgets
// nothing tells the second goroutine that the first has returned: it waits on its channel for as long as the process lives.
//
// It is an instrument: it trusts its clients, which are scripts of this folder. Built by perf/bootstrap, from Debian's packages alone.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	queueMessages = 16
	writeWithin   = 10 * time.Second
)

type notification = *websocket.PreparedMessage

// Who is here: the queues of every patient's sockets.
type hub struct {
	lock   sync.RWMutex
	queues map[string]map[chan notification]bool
}

func (h *hub) join(patient string, queue chan notification) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.queues[patient] == nil {
		h.queues[patient] = map[chan notification]bool{}
	}
	h.queues[patient][queue] = true
}

func (h *hub) leave(patient string, queue chan notification) {
	h.lock.Lock()
	defer h.lock.Unlock()
	delete(h.queues[patient], queue)
	if len(h.queues[patient]) == 0 {
		delete(h.queues, patient)
	}
}

// A prepared message is framed once for all. Whoever's queue is full is passed over, and does not hold up the rest.
func (h *hub) push(patient string, body []byte) (delivered int, err error) {
	message, err := websocket.NewPreparedMessage(websocket.TextMessage, body)
	if err != nil {
		return 0, err
	}
	h.lock.RLock()
	defer h.lock.RUnlock()
	for queue := range h.queues[patient] {
		select {
		case queue <- message:
			delivered++
		default:
		}
	}
	return delivered, nil
}

type server struct {
	hub       hub
	heartbeat time.Duration
	forgets   bool
	upgrader  websocket.Upgrader
}

// The form that forgets: the reader returns when the client is gone, and the goroutine behind the channel is not told.
func (s *server) serveForgetting(conn *websocket.Conn, patient string, heard func(kind int, message []byte) error) {
	defer conn.Close()
	ticker := time.NewTicker(s.heartbeat)
	defer ticker.Stop()
	queue := make(chan notification, queueMessages)
	s.hub.join(patient, queue)
	defer s.hub.leave(patient, queue)
	go func() {
		for message := range queue {
			conn.WritePreparedMessage(message)
		}
	}()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || heard(kind, message) != nil {
			return
		}
	}
}

// The repaired form: one context for both, a deadline for each read and each write.
func (s *server) serve(ctx context.Context, conn *websocket.Conn, patient string, heard func(kind int, message []byte) error) {
	ctx, cancel := context.WithCancel(ctx)
	queue := make(chan notification, queueMessages)
	s.hub.join(patient, queue)
	done := make(chan struct{})
	alive := func(string) error { return conn.SetReadDeadline(time.Now().Add(2 * s.heartbeat)) }
	alive("")
	conn.SetPongHandler(alive)
	go func() {
		defer close(done)
		defer conn.Close() // so that a reader who waits hears of it
		ticker := time.NewTicker(s.heartbeat)
		defer ticker.Stop()
		for {
			select {
			case message := <-queue:
				conn.SetWriteDeadline(time.Now().Add(writeWithin))
				if conn.WritePreparedMessage(message) != nil {
					return
				}
			case <-ticker.C:
				if conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWithin)) != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil || heard(kind, message) != nil {
			break
		}
	}
	s.hub.leave(patient, queue)
	cancel()
	<-done
}

func (s *server) upgrade(w http.ResponseWriter, r *http.Request, patient string, echoes bool) {
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	heard := func(kind int, message []byte) error { return nil }
	if echoes {
		heard = func(kind int, message []byte) error {
			if !s.forgets {
				conn.SetWriteDeadline(time.Now().Add(writeWithin))
			}
			return conn.WriteMessage(kind, message)
		}
	}
	if s.forgets {
		s.serveForgetting(conn, patient, heard)
	} else {
		s.serve(r.Context(), conn, patient, heard)
	}
}

func (s *server) push(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Body json.RawMessage }
	bytes, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(bytes, &asked)
	}
	if err != nil || r.Method != http.MethodPost {
		http.Error(w, "POST {\"body\": …}", http.StatusBadRequest)
		return
	}
	text, _ := json.Marshal(map[string]any{"type": "notification", "id": "1", "body": asked.Body})
	delivered, err := s.hub.push(strings.TrimPrefix(r.URL.Path, "/push/"), text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer := fmt.Sprintf("{\"id\":\"1\",\"delivered\":%d}", delivered)
	w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, answer)
}

func figures(w http.ResponseWriter, r *http.Request) {
	var memory runtime.MemStats
	runtime.GC() // what is left then is held by somebody
	runtime.ReadMemStats(&memory)
	json.NewEncoder(w).Encode(map[string]uint64{"goroutines": uint64(runtime.NumGoroutine()),
		"heap": memory.HeapAlloc, "stacks": memory.StackInuse})
}

func main() {
	address := flag.String("listen", "127.0.0.1:29014", "")
	certificate := flag.String("certificate", "", "")
	key := flag.String("key", "", "")
	heartbeat := flag.Duration("heartbeat", 30*time.Second, "")
	forgets := flag.Bool("forgets", false, "")
	flag.Parse()
	s := &server{hub: hub{queues: map[string]map[chan notification]bool{}}, heartbeat: *heartbeat, forgets: *forgets}
	s.upgrader.CheckOrigin = func(*http.Request) bool { return true }
	routes := http.NewServeMux()
	routes.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { s.upgrade(w, r, "", true) })
	routes.HandleFunc("/live", func(w http.ResponseWriter, r *http.Request) { s.upgrade(w, r, r.URL.Query().Get("patient"), false) })
	routes.HandleFunc("/push/", s.push)
	routes.HandleFunc("/figures", figures)
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	// Clients leave in the middle of everything, by design; a line for each would be measured too.
	web := &http.Server{Handler: routes, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 2 * *heartbeat,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	if *forgets {
		web.ReadHeaderTimeout = 0
	}
	if *certificate == "" {
		log.Fatal(web.Serve(listener))
	}
	log.Fatal(web.ServeTLS(listener, *certificate, *key))
}
