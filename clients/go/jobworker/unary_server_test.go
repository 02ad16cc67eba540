package jobworker

import (
	"context"

	jobworkerv1 "github.com/jobworker/jobworker/clients/go/gen/jobworker/v1"
)

// unaryServer answers unary calls and records the requests. The first calls return its failures.
type unaryServer struct {
	jobworkerv1.UnimplementedJobServiceServer
	failures []error
	creates  []*jobworkerv1.CreateJobRequest
	lists    []*jobworkerv1.ListJobsRequest
	stops    []*jobworkerv1.StopJobRequest
	deletes  []string
	updates  []*jobworkerv1.UpdateJobRequest
	pages    []*jobworkerv1.ListJobsResponse
}

func (s *unaryServer) nextFailure() error {
	if len(s.failures) == 0 {
		return nil
	}
	err := s.failures[0]
	s.failures = s.failures[1:]
	return err
}

func (s *unaryServer) CreateJob(_ context.Context, request *jobworkerv1.CreateJobRequest) (*jobworkerv1.CreateJobResponse, error) {
	s.creates = append(s.creates, request)
	return &jobworkerv1.CreateJobResponse{Job: &Job{Id: "new"}}, s.nextFailure()
}

func (s *unaryServer) GetJob(_ context.Context, request *jobworkerv1.GetJobRequest) (*jobworkerv1.GetJobResponse, error) {
	return &jobworkerv1.GetJobResponse{Job: &Job{Id: request.GetId()}}, s.nextFailure()
}

func (s *unaryServer) ListJobs(_ context.Context, request *jobworkerv1.ListJobsRequest) (*jobworkerv1.ListJobsResponse, error) {
	s.lists = append(s.lists, request)
	return s.pages[len(s.lists)-1], s.nextFailure()
}

func (s *unaryServer) StopJob(_ context.Context, request *jobworkerv1.StopJobRequest) (*jobworkerv1.StopJobResponse, error) {
	s.stops = append(s.stops, request)
	return &jobworkerv1.StopJobResponse{Job: &Job{Id: request.GetId()}}, s.nextFailure()
}

func (s *unaryServer) DeleteJob(_ context.Context, request *jobworkerv1.DeleteJobRequest) (*jobworkerv1.DeleteJobResponse, error) {
	s.deletes = append(s.deletes, request.GetId())
	return &jobworkerv1.DeleteJobResponse{}, s.nextFailure()
}

func (s *unaryServer) UpdateJob(_ context.Context, request *jobworkerv1.UpdateJobRequest) (*jobworkerv1.UpdateJobResponse, error) {
	s.updates = append(s.updates, request)
	return &jobworkerv1.UpdateJobResponse{Job: &Job{Id: request.GetId(), MaxMemory: request.GetMaxMemory()}}, s.nextFailure()
}
