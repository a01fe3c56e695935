export { forgetLeases } from "./forget-leases.ts";
export type { Lease, Leases } from "./leases.ts";
export { MemoryLeases } from "./memory-leases.ts";
export { connectRedis } from "./redis-connection.ts";
export { RedisLeases } from "./redis-leases.ts";
