/** The part of a generated service definition that is needed here. */
interface Definition {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, unknown>>;
}

/** An implementation of a service of which a test needs only some methods; the others fail and say so. */
export function partialService<Implementation extends object>(
  { fullName, methods }: Definition,
  implementation: Partial<Implementation> | undefined,
): Implementation {
  const absent = Object.keys(methods).map((name) => [
    name,
    () => {
      throw new Error(`this test has no ${fullName}.${name}`);
    },
  ]);
  return { ...Object.fromEntries(absent), ...implementation };
}
