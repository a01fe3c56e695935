/**
 * The replica that owns a host, of those that there are: the one whose name, hashed with the host's, is highest
 * (rendezvous hashing). Who comes takes his share from all the others, who goes leaves his to all of them, and nothing
 * else moves. Undefined when there is no replica.
 */
export function ownerAmong(replicas: Iterable<string>, host: string): string | undefined {
  let owner: string | undefined;
  let highest = -1;
  for (const replica of replicas) {
    const weight = hash(`${replica} ${host}`);
    if (weight < highest || (weight === highest && owner !== undefined && replica < owner)) continue;
    highest = weight;
    owner = replica;
  }
  return owner;
}

/** FNV-1a of 32 bits, with the finalizer of MurmurHash3: without it names that end alike would weigh alike. */
function hash(text: string): number {
  let bits = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) bits = Math.imul(bits ^ text.charCodeAt(index), 0x01000193);
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
