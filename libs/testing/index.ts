export { type S3Server, startCeph } from "./ceph-server.ts";
export { leftByDeadRuns, runPrefix } from "./dead-runs.ts";
export {
  dockerEngine,
  engineLeftovers,
  type OfferedEngine,
  offerEngine,
  runningEngine,
  type TestEngine,
} from "./docker-engine.ts";
export { eventually } from "./eventually.ts";
export { freePort } from "./free-port.ts";
export { assertNothingLeft, leftovers } from "./leftovers.ts";
export { casesOf, isLong } from "./long-suite.ts";
export { countEachOther, type NatsCluster, startNatsCluster } from "./nats-cluster.ts";
export { partialService } from "./partial-service.ts";
export { loopback, type Place } from "./place.ts";
export { type RedisCluster, startRedisCluster } from "./redis-cluster.ts";
export { type TemporaryFolder, temporaryFolder } from "./temporary-folder.ts";
export { accepts, startNats, startRedis, startS3rver, startServer, type TestServer } from "./test-server.ts";
