/** Placeholder until the plumbing lands. */
export async function failpoint(_name: string): Promise<void> {}
