package jobworker

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// gateway is a unaryServer with the pages of a cluster's nodes. The first calls of ListNodes return its nodeFailures.
type gateway struct {
	unaryServer
	jobworkerv1.UnimplementedClusterServiceServer
	nodeFailures []error
	nodePages    map[string]*jobworkerv1.ListNodesResponse
}

func (g *gateway) ListNodes(_ context.Context, request *jobworkerv1.ListNodesRequest) (*jobworkerv1.ListNodesResponse, error) {
	if len(g.nodeFailures) > 0 {
		err := g.nodeFailures[0]
		g.nodeFailures = g.nodeFailures[1:]
		return nil, err
	}
	return g.nodePages[request.GetPageToken()], nil
}

func TestListNodesReturnsThePages(t *testing.T) {
	server := &gateway{
		nodeFailures: []error{serverError(t, codes.Unavailable, ErrClusterUnavailable)},
		nodePages: map[string]*jobworkerv1.ListNodesResponse{
			"":  {Nodes: []*Node{{Name: "a"}, {Name: "b"}}, NextPageToken: "2"},
			"2": {Nodes: []*Node{{Name: "c"}}},
		},
	}
	names := ""
	for node, err := range clientOf(t, server).ListNodes(t.Context()) {
		must(t, err)
		names += node.GetName()
	}
	equal(t, names, "abc")
	equal(t, len(server.nodeFailures), 0)
}

func TestCallerCanLeaveListNodes(t *testing.T) {
	server := &gateway{nodePages: map[string]*jobworkerv1.ListNodesResponse{"": {Nodes: []*Node{{Name: "a"}, {Name: "b"}}}}}
	for node, err := range clientOf(t, server).ListNodes(t.Context()) {
		must(t, err)
		equal(t, node.GetName(), "a")
		break
	}
}

func TestSingleHostHasNoNodes(t *testing.T) {
	count := 0
	for _, err := range clientOf(t, &unaryServer{}).ListNodes(t.Context()) {
		count++
		failure, ok := errors.AsType[*Error](err)
		equal(t, ok && failure.Code == codes.Unimplemented && !failure.Retryable(), true)
	}
	equal(t, count, 1)
}

func TestARefusalOfTheClusterIsNotRetryable(t *testing.T) {
	failure := fromRPC(serverError(t, codes.FailedPrecondition, ErrClusterRefused))
	equal(t, errors.Is(failure, ErrClusterRefused), true)
	equal(t, failure.Retryable(), false)
}

func TestErrorsOfAGatewayAreRetryable(t *testing.T) {
	for _, reason := range []Reason{ErrNodeUnreachable, ErrClusterUnavailable} {
		failure := fromRPC(serverError(t, codes.Unavailable, reason))
		equal(t, errors.Is(failure, reason), true)
		equal(t, failure.Retryable(), true)
	}
}
