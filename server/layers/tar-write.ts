import type { TreeItem } from '../../overlay-core/index.ts'
import { paddingAfter, TAR_END, tarHeaderOf } from './tar-header.ts'

/** The tar file of a layer. The same items make the same bytes. Pieces may be kept by the consumer. */
export async function* tarOf(items: AsyncIterable<TreeItem>): AsyncGenerator<Uint8Array> {
  for await (const { entry, content } of items) {
    yield tarHeaderOf(entry)
    if (content === undefined) continue
    yield* content()
    yield paddingAfter(entry.size)
  }
  yield TAR_END
}
