// perf/gin/main.go — the site count as one writes it in Go with Gin, for perf/compare: in memory, in one of two ways.
//
//	rwmutex   a map of numbers behind an RWMutex: readers together, a writer alone
//	atomic    a map of pointers behind an RWMutex, and atomic numbers: the lock is written only for a site that is new
//
// No access log and no recovery: what is measured is the count. Nothing is kept on disk.
package main

import (
	"flag"
	"log"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/gin-gonic/gin"
)

type counts interface {
	get(site string) int64
	add(site string, n int64)
}

type locked struct {
	sync.RWMutex
	sites map[string]int64
}

func (c *locked) get(site string) int64 {
	c.RLock()
	defer c.RUnlock()
	return c.sites[site]
}

func (c *locked) add(site string, n int64) {
	c.Lock()
	defer c.Unlock()
	c.sites[site] += n
}

type atomics struct {
	sync.RWMutex
	sites map[string]*int64
}

func (c *atomics) find(site string) *int64 {
	c.RLock()
	defer c.RUnlock()
	return c.sites[site]
}

func (c *atomics) get(site string) int64 {
	if n := c.find(site); n != nil {
		return atomic.LoadInt64(n)
	}
	return 0
}

func (c *atomics) add(site string, n int64) {
	count := c.find(site)
	if count == nil {
		c.Lock()
		if count = c.sites[site]; count == nil {
			count = new(int64)
			c.sites[site] = count
		}
		c.Unlock()
	}
	atomic.AddInt64(count, n)
}

func main() {
	address := flag.String("listen", "127.0.0.1:29015", "")
	kind := flag.String("count", "rwmutex", "rwmutex or atomic")
	flag.Parse()
	var sites counts
	switch *kind {
	case "rwmutex":
		sites = &locked{sites: map[string]int64{}}
	case "atomic":
		sites = &atomics{sites: map[string]*int64{}}
	default:
		log.Fatalf("no such count: %s", *kind)
	}
	gin.SetMode(gin.ReleaseMode)
	routes := gin.New()
	routes.GET("/count", func(c *gin.Context) {
		site := c.Query("siteId")
		if site == "" {
			c.JSON(http.StatusBadRequest, gin.H{"error": "siteId is missing"})
			return
		}
		c.JSON(http.StatusOK, gin.H{"count": sites.get(site)})
	})
	routes.POST("/count", func(c *gin.Context) {
		site := c.PostForm("siteId")
		if site == "" {
			c.JSON(http.StatusBadRequest, gin.H{"error": "siteId is missing"})
			return
		}
		sites.add(site, 1)
		c.JSON(http.StatusOK, gin.H{"status": "ok"})
	})
	log.Fatal(routes.Run(*address))
}
