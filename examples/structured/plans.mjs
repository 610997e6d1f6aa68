// @ts-check
// The data: floor plans, in which rooms tile a house of 16 × 12 cells.

/** @typedef {{ kind: string, x: number, y: number, width: number, height: number }} Room */

export const [WIDTH, HEIGHT] = [16, 12];
export const MOST_ROOMS = 8;
export const KINDS = ['living', 'kitchen', 'bedroom', 'bath'];
const SHORTEST_SIDE = 3;

/**
 * A plan of four to eight rooms: the largest is cut in two until there are enough. Then the largest is the living room, the
 * smallest the bath, and the largest that shares a wall with the living room the kitchen.
 *
 * @param {number} seed
 */
export function makePlan(seed) {
  const random = generator(seed);
  const count = 4 + Math.floor(random() * (MOST_ROOMS - 3));
  /** @type {Room[]} */
  const rooms = [{ kind: 'bedroom', x: 0, y: 0, width: WIDTH, height: HEIGHT }];
  const bySize = () => rooms.sort((a, b) => b.width * b.height - a.width * a.height);
  while (rooms.length < count) {
    const room = /** @type {Room} */ (bySize()[0]);
    const { x, y, width, height } = room;
    const side = width >= height ? 'width' : 'height';
    if (room[side] < 2 * SHORTEST_SIDE) break;
    room[side] = SHORTEST_SIDE + Math.floor(random() * (room[side] - 2 * SHORTEST_SIDE + 1));
    const [right, below] = side === 'width' ? [room.width, 0] : [0, room.height];
    rooms.push({ kind: 'bedroom', x: x + right, y: y + below, width: width - right, height: height - below });
  }
  const [living, ...others] = /** @type {[Room, ...Room[]]} */ (bySize());
  living.kind = 'living';
  const kitchen = others.find((room) => adjoin(living, room));
  if (kitchen) kitchen.kind = 'kitchen';
  const bath = others.findLast((room) => room !== kitchen);
  if (bath) bath.kind = 'bath';
  return rooms.sort((a, b) => a.y - b.y || a.x - b.x);
}

/** @param {Room} a @param {Room} b - whether they share a piece of wall, more than a corner. */
function adjoin(a, b) {
  const across = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const along = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return across + along > 0 && Math.min(across, along) === 0;
}

/** Mulberry32: numbers in [0, 1). @param {number} seed */
function generator(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b9);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Whether the rooms cover every cell of the house once: no mask asks for it, so it has to be learnt.
 *
 * @param {readonly Room[]} rooms
 */
export function tiles(rooms) {
  const covered = new Set(
    rooms.flatMap(({ x, y, width, height }) =>
      Array.from({ length: width * height }, (_, i) => (y + Math.floor(i / width)) * WIDTH + x + (i % width)),
    ),
  );
  const area = rooms.reduce((sum, { width, height }) => sum + width * height, 0);
  return area === WIDTH * HEIGHT && covered.size === area;
}
