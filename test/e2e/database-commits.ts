import type { ContainerHost, TestContainer } from "../harness/container-host.ts";

/** Commits one number after the other, until the database or the table is gone. */
export function commitsOf(host: ContainerHost, container: TestContainer) {
  const one = `psql -U postgres -qc "insert into t values ($i, repeat('x', 500))" 2>/dev/null`;
  const command = ["sh", "-c", `i=1; while ${one}; do echo $i; i=$((i+1)); done`];
  const commits = { acknowledged: 0, ended: Promise.resolve() };
  const read = async () => {
    async function* requests() {
      yield { start: { name: container.uid, command }, stdinClosed: true };
    }
    for await (const { stdout } of host.client.execContainer(requests())) {
      const numbers = Buffer.from(stdout).toString("utf8").trim().split("\n").map(Number);
      commits.acknowledged = Math.max(commits.acknowledged, ...numbers);
    }
  };
  commits.ended = read().catch(() => undefined);
  return commits;
}
