import type { Container } from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";
import type { SecretKeys } from "#libs/secrets";

type Secret = NonNullable<Container["spec"]>["secrets"][number];

/** The container as its record holds it. @throws StillpointError SECRET_KEY_MISSING when there is nothing to seal with */
export function sealSecrets(keys: SecretKeys | undefined, container: Container): Container {
  return withSecrets(container, (secret, name) => ({ ...secret, value: needed(keys).seal(secret.value, name) }));
}

/** The container as its host makes it. @throws StillpointError SECRET_KEY_MISSING, SECRET_DAMAGED */
export function openSecrets(keys: SecretKeys | undefined, container: Container): Container {
  return withSecrets(container, (secret, name) => ({ ...secret, value: needed(keys).open(secret.value, name) }));
}

/** The container with everything sealed by the first key; undefined when it is. @throws as openSecrets */
export function resealSecrets(keys: SecretKeys, container: Container): Container | undefined {
  if ((container.spec?.secrets ?? []).every(({ value }) => keys.isCurrent(value))) return undefined;
  return sealSecrets(keys, openSecrets(keys, container));
}

/** Secrets for the fingerprint of a request, which is kept: equal for equal values, from which nobody learns them. */
export function fingerprinted(keys: SecretKeys | undefined, secrets: readonly Secret[]) {
  return secrets.map(({ name, value }) => ({ name, value: keys?.fingerprint(value) ?? "" }));
}

function withSecrets(container: Container, change: (secret: Secret, name: string) => Secret): Container {
  const { spec, name } = container;
  if (spec === undefined) return container;
  const secrets = spec.secrets.map((secret) => change(secret, `${name}/secrets/${secret.name}`));
  return { ...container, spec: { ...spec, secrets } };
}

function needed(keys: SecretKeys | undefined): SecretKeys {
  if (keys !== undefined) return keys;
  throw new StillpointError("SECRET_KEY_MISSING", "this installation has no key to keep secrets with", {
    help: "Have its operator set STILLPOINT_SECRETS_KEY_FILE for the container service.",
  });
}
