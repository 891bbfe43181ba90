"""The images of the demo, built beside whatever else takes time, and brought into the cluster."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from tenantry_cluster import Layout, Steps, stack
from tenantry_cluster.archives import Image
from tenantry_cluster.cluster import Cluster
from tenantry_cluster.images import Images

# As examples/greeting.yaml asks for it.
GREETING_TAG = "tenantry.example/greeting:1"


@dataclass(frozen=True)
class DemoImages:
    """What runs in the demo and is made from this checkout."""

    operator: Image
    accounts: Image
    greeting: Image

    def __iter__(self) -> Iterator[Image]:
        return iter((self.operator, self.accounts, self.greeting))


def build_images(steps: Steps, layout: Layout) -> DemoImages:
    """Build what is not built. Raises ClusterError with the last words of a build."""
    images = Images(steps, layout)
    context = layout.root / "examples" / "greeting"
    greeting = images.build(context / "Dockerfile", context, "greeting")
    stack.build_images(steps, layout)
    return DemoImages(images.operator(), images.service("accounts"), Image(greeting.archive, GREETING_TAG))


@contextmanager
def images_under_way(steps: Steps, layout: Layout) -> Iterator[Future[DemoImages]]:
    """The images, in a thread of their own: mostly they wait for the network while programs are compiled."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="images") as pool:
        yield pool.submit(build_images, steps, layout)


def load_images(steps: Steps, cluster: Cluster, images: DemoImages) -> None:
    with steps.step("Bring the images into the cluster") as step:
        fresh = [cluster.load_image(image.archive, image.tag) for image in images]
        step.result(f"{sum(fresh)} of {len(fresh)} were new")
