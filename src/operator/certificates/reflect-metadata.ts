const metadata = new WeakMap<object, Map<unknown, unknown>>();

function getOwnMetadata(key: unknown, target: object): unknown {
  return metadata.get(target)?.get(key);
}

function getMetadata(key: unknown, target: object): unknown {
  for (let place: object | null = target; place !== null; place = Reflect.getPrototypeOf(place)) {
    const entries = metadata.get(place);
    if (entries?.has(key) === true) return entries.get(key);
  }
  return undefined;
}

function defineMetadata(key: unknown, value: unknown, target: object): void {
  const entries = metadata.get(target) ?? new Map<unknown, unknown>();
  entries.set(key, value);
  metadata.set(target, entries);
}

/**
 * What must have been called before @peculiar/x509 is imported: its parts find each other by tsyringe, which does not load without these functions
 * of the metadata proposal (github.com/rbuckton/reflect-metadata). It asks for metadata of classes only.
 */
export function provideReflectMetadata(): void {
  if (!('getMetadata' in Reflect)) Object.assign(Reflect, { getOwnMetadata, getMetadata, defineMetadata });
}
