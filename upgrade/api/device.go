package api

import (
	"context"
	"net/http"

	"github.com/multicast-upgrade/tool/upgrade/api/rest"
	"github.com/multicast-upgrade/tool/upgrade/store"
)

// keyStates are the words of the contract for those of the store.
var keyStates = map[rest.KeyState]store.KeyState{
	rest.KeyStateNone: store.KeyNone, rest.KeyStatePending: store.KeyPending, rest.KeyStateApproved: store.KeyApproved, rest.KeyStateRevoked: store.KeyRevoked,
}

func (a *API) deviceOf(d store.Device) rest.Device {
	v := rest.Device{
		Id: d.ID, Product: d.Product, Hardware: d.Hardware, Version: d.Version, Site: d.Site, Tags: d.Tags, FirstSeen: d.FirstSeen, LastSeen: d.LastSeen,
		Online: a.fleet.Online(d.ID), KeyState: rest.KeyState(d.KeyState), Duplicate: d.Duplicate, Node: int64(d.Node), Revision: d.Revision,
	}
	if d.KeyState == store.KeyNone {
		v.KeyState = rest.KeyStateNone
	}
	if !d.Key.IsZero() {
		v.Key, v.Fingerprint = d.Key.String(), d.Key.Fingerprint()
	}
	return v
}

func (s server) ListDevices(ctx context.Context, r rest.ListDevicesRequestObject) (rest.ListDevicesResponseObject, error) {
	q := r.Params
	page, err := sorted(q.Order, q.After, q.Limit)
	if err != nil {
		return nil, err
	}
	f := store.DeviceFilter{Products: q.Product, Sites: q.Site, Tags: q.Tag, Duplicate: q.Duplicate, SeenSince: q.SeenSince, Prefix: q.Prefix}
	if q.Key != "" {
		state, ok := keyStates[q.Key]
		if !ok {
			return nil, refuse(http.StatusBadRequest, rest.ReasonInvalid, "key %.70q: want none, pending, approved or revoked", q.Key)
		}
		f.KeyState = &state
	}
	l, err := s.store.Devices(ctx, f, page)
	return rest.ListDevices200JSONResponse{Items: each(l.Items, s.deviceOf), Next: l.Next}, err
}

// device returns a device as the contract has it, with its ETag, unless there is an error already.
func (a *API) device(ctx context.Context, id string, err error) (rest.Device, string, error) {
	if err != nil {
		return rest.Device{}, "", err
	}
	d, err := a.store.Device(ctx, id)
	return a.deviceOf(d), etag(d.Revision), err
}

func (s server) ShowDevice(ctx context.Context, r rest.ShowDeviceRequestObject) (rest.ShowDeviceResponseObject, error) {
	d, tag, err := s.device(ctx, r.Device, may(ctx, r.Device))
	return rest.ShowDevice200JSONResponse{Body: d, Headers: rest.ShowDevice200ResponseHeaders{ETag: tag}}, err
}

func (s server) ShowDeviceHistory(ctx context.Context, r rest.ShowDeviceHistoryRequestObject) (rest.ShowDeviceHistoryResponseObject, error) {
	page, err := sorted(r.Params.Order, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	if _, err := s.store.Device(ctx, r.Device); err != nil {
		return nil, err
	}
	l, err := s.store.Events(ctx, store.EventFilter{Subject: r.Device}, page)
	return rest.ShowDeviceHistory200JSONResponse{Items: each(l.Items, eventOf), Next: l.Next}, err
}

func (s server) PlaceDevice(ctx context.Context, r rest.PlaceDeviceRequestObject) (rest.PlaceDeviceResponseObject, error) {
	revision, err := revisionOf(r.Params.IfMatch)
	if err == nil {
		err = s.fleet.PlaceDevice(ctx, r.Device, revision, r.Body.Site, r.Body.Tags, actor(ctx))
	}
	d, tag, err := s.device(ctx, r.Device, err)
	return rest.PlaceDevice200JSONResponse{Body: d, Headers: rest.PlaceDevice200ResponseHeaders{ETag: tag}}, err
}

func (s server) ApproveDevice(ctx context.Context, r rest.ApproveDeviceRequestObject) (rest.ApproveDeviceResponseObject, error) {
	revision, err := revisionOf(r.Params.IfMatch)
	if err == nil {
		err = s.fleet.ApproveDevice(ctx, r.Device, revision, actor(ctx))
	}
	d, tag, err := s.device(ctx, r.Device, err)
	return rest.ApproveDevice200JSONResponse{Body: d, Headers: rest.ApproveDevice200ResponseHeaders{ETag: tag}}, err
}

func (s server) RevokeDevice(ctx context.Context, r rest.RevokeDeviceRequestObject) (rest.RevokeDeviceResponseObject, error) {
	revision, err := revisionOf(r.Params.IfMatch)
	if err == nil {
		err = s.fleet.RevokeDevice(ctx, r.Device, revision, actor(ctx))
	}
	d, tag, err := s.device(ctx, r.Device, err)
	return rest.RevokeDevice200JSONResponse{Body: d, Headers: rest.RevokeDevice200ResponseHeaders{ETag: tag}}, err
}

func (s server) ReplaceDeviceKey(ctx context.Context, r rest.ReplaceDeviceKeyRequestObject) (rest.ReplaceDeviceKeyResponseObject, error) {
	revision, err := revisionOf(r.Params.IfMatch)
	if err == nil {
		err = s.fleet.ReplaceDeviceKey(ctx, r.Device, revision, actor(ctx))
	}
	d, tag, err := s.device(ctx, r.Device, err)
	return rest.ReplaceDeviceKey200JSONResponse{Body: d, Headers: rest.ReplaceDeviceKey200ResponseHeaders{ETag: tag}}, err
}

func (s server) RemoveDevice(ctx context.Context, r rest.RemoveDeviceRequestObject) (rest.RemoveDeviceResponseObject, error) {
	revision, err := revisionOf(r.Params.IfMatch)
	if err == nil {
		err = s.fleet.RemoveDevice(ctx, r.Device, revision, actor(ctx))
	}
	return rest.RemoveDevice204Response{}, err
}

func enrolmentOf(e store.Enrolment) rest.Enrolment {
	v := rest.Enrolment{Id: e.ID, Device: e.Device, Site: e.Site, Tags: e.Tags, Created: byOf(e.Created), Expires: e.Expires}
	if !e.Used.At.IsZero() {
		v.Used = byOf(e.Used)
	}
	return v
}

func (s server) ListEnrolments(ctx context.Context, r rest.ListEnrolmentsRequestObject) (rest.ListEnrolmentsResponseObject, error) {
	page, err := sorted(r.Params.Order, r.Params.After, r.Params.Limit)
	if err != nil {
		return nil, err
	}
	l, err := s.store.Enrolments(ctx, page)
	return rest.ListEnrolments200JSONResponse{Items: each(l.Items, enrolmentOf), Next: l.Next}, err
}

func (s server) CreateEnrolment(ctx context.Context, r rest.CreateEnrolmentRequestObject) (rest.CreateEnrolmentResponseObject, error) {
	b := r.Body
	e, secret, err := s.store.CreateEnrolment(ctx, store.Enrolment{Device: b.Device, Site: b.Site, Tags: b.Tags, Expires: b.Expires}, s.by(ctx))
	return rest.CreateEnrolment201JSONResponse{Enrolment: enrolmentOf(e), Secret: secret}, err
}

func (s server) RevokeEnrolment(ctx context.Context, r rest.RevokeEnrolmentRequestObject) (rest.RevokeEnrolmentResponseObject, error) {
	return rest.RevokeEnrolment204Response{}, s.store.RevokeEnrolment(ctx, r.Enrolment, s.by(ctx))
}
