/** Loads the code that reads and prints configuration files, on demand so that other commands do not wait for it. */
export async function loadConfigReader() {
  const [reading, printing, initial] = await Promise.all([
    import('./file/read-config.ts'),
    import('./file/effective.ts'),
    import('./file/initial.ts'),
  ])
  return {
    mostBytes: reading.MOST_BYTES,
    readConfig: reading.readConfig,
    readInventory: reading.readInventory,
    bootErrors: reading.bootErrors,
    defaultValues: reading.defaultValues,
    printValues: printing.printValues,
    printValuesAsJson: printing.printValuesAsJson,
    initialConfig: initial.initialConfig,
    welcome: initial.WELCOME,
    inFileWords: reading.inFileWords,
    keyOfOption: reading.keyOfOption,
  }
}
