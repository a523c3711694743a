/* tests/sim/peer.c — see peer.h. */
#include "tests/sim/peer.h"

#include <errno.h>
#include <string.h>

#define PIECE_MAX 16384u

enum peer_manner peer_manner_roll(struct dice *dice)
{
	static const enum peer_manner rude[] = { PEER_RESETS, PEER_LEAVES, PEER_DEAF };

	if (dice_chance(dice, 65))
		return PEER_POLITE;
	return rude[dice_below(dice, array_count(rude))];
}

void peer_init(struct peer *peer, struct world *world, enum peer_manner manner, uint64_t send_bytes, actor_act *act)
{
	struct dice *dice = &world->dice;

	memset(peer, 0, sizeof *peer);
	peer->manner = manner;
	peer->send_bytes = send_bytes;
	peer->until_bytes = dice_below(dice, send_bytes * 2 + 1);
	peer->pause_ns = dice_scaled(dice, 1000, 20 * WORLD_MS);
	peer->pieces_max = (unsigned)dice_scaled(dice, send_bytes > 2000 ? 200 : 1, PIECE_MAX);
	actor_init(&peer->actor, world, act, dice_scaled(dice, 1000, 50 * WORLD_MS));
}

void peer_fini(struct peer *peer)
{
	link_remove(&peer->actor.in_world);
	if (peer->socket)
		peer->socket->actor = NULL;
}

static bool failed(struct peer *peer, long result)
{
	if (result >= 0 || result == -EAGAIN)
		return false;
	peer->error = (int)-result;
	return true;
}

static bool peer_sends(struct peer *peer, bool *moved)
{
	struct world *world = peer->actor.world;
	uint8_t bytes[PIECE_MAX];
	uint64_t n = peer->send_bytes - peer->sent;
	long result;

	if (n > 0) {
		n = dice_between(&world->dice, 1, n < peer->pieces_max ? n : peer->pieces_max);
		world_pattern(world, peer->send_id, peer->sent, bytes, n);
		result = world_send(peer->socket, bytes, n);
		if (failed(peer, result))
			return false;
		if (result > 0) {
			peer->sent += (uint64_t)result;
			*moved = true;
		}
	}
	if (peer->sent == peer->send_bytes && !peer->fin_sent && (peer->manner != PEER_WAITS || peer->end_seen)) {
		peer->fin_sent = true;
		world_shutdown(peer->socket);
		*moved = true;
	}
	return true;
}

static bool peer_receives(struct peer *peer, bool *moved)
{
	struct world *world = peer->actor.world;
	uint8_t bytes[PIECE_MAX];
	long result = world_receive(peer->socket, bytes, dice_between(&world->dice, 1, peer->pieces_max));

	if (failed(peer, result))
		return false;
	if (result == -EAGAIN)
		return true;
	if (result == 0) {
		*moved |= !peer->end_seen;
		peer->end_seen = true;
		return true;
	}
	if (!world_pattern_is(world, peer->receive_id, peer->received, bytes, (size_t)result))
		world_fail(world, "a peer received wrong bytes at %llu of stream %u (%ld of them)",
		           (unsigned long long)peer->received, peer->receive_id, result);
	peer->received += (uint64_t)result;
	*moved = true;
	return true;
}

static void peer_leaves(struct peer *peer)
{
	world_trace(peer->actor.world, "peer %u leaves: sent %llu, received %llu, error %d", peer->send_id,
	            (unsigned long long)peer->sent, (unsigned long long)peer->received, peer->error);
	peer->done = true;
	peer->actor.at_ns = ACTOR_ASLEEP;
	peer->socket->actor = NULL;
	if (peer->manner == PEER_RESETS)
		world_reset(peer->socket);
	else
		world_close(peer->socket);
}

void peer_act(struct peer *peer)
{
	struct world *world = peer->actor.world;
	bool moved = false;

	if (peer->done)
		return;
	if (!peer_sends(peer, &moved) || (peer->manner != PEER_DEAF && !peer_receives(peer, &moved))) {
		peer_leaves(peer);
		return;
	}
	switch (peer->manner) {
	case PEER_POLITE:
	case PEER_WAITS:
		if (peer->fin_sent && peer->end_seen) {
			peer_leaves(peer);
			return;
		}
		break;
	case PEER_RESETS:
	case PEER_LEAVES:
		if (peer->sent + peer->received >= peer->until_bytes || (peer->fin_sent && peer->end_seen)) {
			peer_leaves(peer);
			return;
		}
		break;
	case PEER_DEAF:
		/* Patience ends where nothing more can be sent. */
		if (peer->fin_sent || (!moved && dice_chance(&world->dice, 20))) {
			peer_leaves(peer);
			return;
		}
		actor_in(&peer->actor, dice_scaled(&world->dice, 1000, 200 * WORLD_MS));
		return;
	}
	if (moved)
		actor_in(&peer->actor, dice_below(&world->dice, peer->pause_ns) + 1000);
}
