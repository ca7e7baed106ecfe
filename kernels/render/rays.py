"""Triangle surfaces seen along camera rays: the nearest hit of each ray, its colour, depth and normal.

Rays are (x, y, 1) in the camera's frame, from its centre; depth is the third coordinate of the hit, not the length of the ray. Every
surface has its own tree of boxes, in its own axes, so that a rigid one is posed without touching the tree.

    colour = albedo (ambient + diffuse max(n . l, 0))

with n the normal on the viewer's side and l the unit vector towards the light, or towards the viewer where none is given (Lambert's law).
"""

import warp as wp

UNIFORM = wp.constant(0)  # one colour
BY_VERTEX = wp.constant(1)
BY_TRIANGLE = wp.constant(2)
FARTHEST = wp.constant(1.0e30)  # [m]


@wp.struct
class SurfaceRecord:
    """A triangle surface on the device.

    `rotation`, `translation` [m]: from the camera's frame to the surface's; `colouring`: UNIFORM, BY_VERTEX or BY_TRIANGLE;
    `normals`: of the vertices where `smooth`; `textured`: whether colours are multiplied by `texture`; `uv`: of each triangle's corners,
    3 a triangle, (0, 0) at the texture's lower left.
    """

    mesh: wp.uint64
    label: int
    smooth: int
    colouring: int
    textured: int
    rotation: wp.mat33
    translation: wp.vec3
    colours: wp.array(dtype=wp.vec3)
    texture: wp.array2d(dtype=wp.vec3)
    uv: wp.array(dtype=wp.vec2)
    normals: wp.array(dtype=wp.vec3)


@wp.struct
class Hit:
    """`surface` is -1 for a miss; `u`, `v` weigh the triangle's first two corners; `normal` (unit, camera's frame) faces the viewer."""

    surface: int
    triangle: int
    u: float
    v: float
    depth: float
    normal: wp.vec3


@wp.struct
class Light:
    """`direction`: unit vector towards the light in the camera's frame; zero for a light at the camera."""

    direction: wp.vec3
    ambient: float
    diffuse: float


@wp.func
def nearest_hit(surfaces: wp.array(dtype=SurfaceRecord), ray: wp.vec2, near: float) -> Hit:
    """The first surface along a ray (x, y, 1) that lies deeper than `near`; a ray that is NaN hits nothing."""
    hit = Hit()
    hit.surface = -1
    hit.depth = FARTHEST
    if not (wp.isfinite(ray[0]) and wp.isfinite(ray[1])):
        return hit
    along = wp.vec3(ray[0], ray[1], 1.0)
    stretch = wp.length(along)  # length of the ray for each metre of depth
    for i in range(surfaces.shape[0]):
        surface = surfaces[i]
        start = surface.rotation * (near * along) + surface.translation
        direction = surface.rotation * (along / stretch)
        query = wp.mesh_query_ray(surface.mesh, start, direction, (hit.depth - near) * stretch)
        if query.result:
            depth = near + query.t / stretch
            if depth < hit.depth:
                hit.surface = i
                hit.triangle = query.face
                hit.u = query.u
                hit.v = query.v
                hit.depth = depth
                hit.normal = query.normal
    if hit.surface >= 0:
        hit.normal = facing(surfaces[hit.surface], hit, along)
    return hit


@wp.func
def facing(surface: SurfaceRecord, hit: Hit, along: wp.vec3) -> wp.vec3:
    """Unit normal in the camera's frame: of the triangle, or between its corners' where smooth, turned to the viewer's side."""
    back = wp.transpose(surface.rotation)
    flat = wp.normalize(back * hit.normal)
    if wp.dot(flat, along) > 0.0:
        flat = -flat
    if surface.smooth == 0:
        return flat
    a, b, c = corners(surface.mesh, hit.triangle)
    smooth = hit.u * surface.normals[a] + hit.v * surface.normals[b] + (1.0 - hit.u - hit.v) * surface.normals[c]
    smooth = wp.normalize(back * smooth)
    side = wp.dot(smooth, flat)
    if side < 0.0:
        smooth = -smooth
    if wp.length(smooth) < 0.5:  # corners whose normals cancel
        return flat
    return smooth


@wp.func
def corners(mesh: wp.uint64, triangle: int):
    """Vertices of a triangle."""
    return wp.mesh_get_index(mesh, 3 * triangle), wp.mesh_get_index(mesh, 3 * triangle + 1), wp.mesh_get_index(mesh, 3 * triangle + 2)


@wp.func
def albedo(surface: SurfaceRecord, hit: Hit) -> wp.vec3:
    """Colour of the surface itself where it was hit."""
    w = 1.0 - hit.u - hit.v
    colour = surface.colours[0]
    if surface.colouring == BY_VERTEX:
        a, b, c = corners(surface.mesh, hit.triangle)
        colour = hit.u * surface.colours[a] + hit.v * surface.colours[b] + w * surface.colours[c]
    if surface.colouring == BY_TRIANGLE:
        colour = surface.colours[hit.triangle]
    if surface.textured != 0:
        k = 3 * hit.triangle
        uv = hit.u * surface.uv[k] + hit.v * surface.uv[k + 1] + w * surface.uv[k + 2]
        colour = wp.cw_mul(colour, texel(surface.texture, uv))
    return colour


@wp.func
def wrapped(i: int, n: int) -> int:
    """Index modulo n, from 0."""
    return ((i % n) + n) % n


@wp.func
def texel(texture: wp.array2d(dtype=wp.vec3), uv: wp.vec2) -> wp.vec3:
    """Bilinear between the four nearest texels; the texture repeats. Row 0 is the top, v grows upwards."""
    rows = texture.shape[0]
    columns = texture.shape[1]
    x = (uv[0] - wp.floor(uv[0])) * float(columns) - 0.5
    y = (1.0 - (uv[1] - wp.floor(uv[1]))) * float(rows) - 0.5
    left = wp.floor(x)
    top = wp.floor(y)
    s = x - left
    t = y - top
    j0 = wrapped(int(left), columns)
    j1 = wrapped(int(left) + 1, columns)
    i0 = wrapped(int(top), rows)
    i1 = wrapped(int(top) + 1, rows)
    return (1.0 - t) * ((1.0 - s) * texture[i0, j0] + s * texture[i0, j1]) + t * ((1.0 - s) * texture[i1, j0] + s * texture[i1, j1])


@wp.func
def shaded(colour: wp.vec3, normal: wp.vec3, ray: wp.vec2, light: Light) -> wp.vec3:
    """Lambert's law with an ambient part."""
    towards = light.direction
    if wp.length_sq(towards) == 0.0:
        towards = -wp.normalize(wp.vec3(ray[0], ray[1], 1.0))
    return colour * (light.ambient + light.diffuse * wp.max(wp.dot(normal, towards), 0.0))


@wp.kernel(module="unique", enable_backward=False)
def trace(
    first: wp.vec2i,
    samples: int,
    width: int,
    surfaces: wp.array(dtype=SurfaceRecord),
    near: float,
    world: wp.mat33,
    light: Light,
    centres: wp.array(dtype=wp.vec2),
    rays: wp.array2d(dtype=wp.vec2),
    colour_out: wp.array(dtype=wp.vec3),
    alpha_out: wp.array(dtype=float),
    depth_out: wp.array(dtype=float),
    normal_out: wp.array(dtype=wp.vec3),
    label_out: wp.array(dtype=int),
):
    """What each pixel sees.

    Colour is the mean of `samples` x `samples` rays, those that miss being black, alpha the share that hits. Depth [m], unit normal
    (turned by `world`) and label are those of the pixel's centre; where that misses they are left as they are.
    """
    _, k = wp.tid()
    pixel = first[1] + k
    middle = nearest_hit(surfaces, centres[pixel], near)
    if middle.surface >= 0:
        depth_out[pixel] = middle.depth
        normal_out[pixel] = world * middle.normal
        label_out[pixel] = surfaces[middle.surface].label
    row = samples * (pixel // width)
    column = samples * (pixel % width)
    share = 1.0 / float(samples * samples)
    colour = wp.vec3()
    covered = wp.float32(0.0)
    for i in range(samples):
        for j in range(samples):
            ray = rays[row + i, column + j]
            hit = middle
            if samples > 1:
                hit = nearest_hit(surfaces, ray, near)
            if hit.surface >= 0:
                colour += shaded(albedo(surfaces[hit.surface], hit), hit.normal, ray, light)
                covered += share
    colour_out[pixel] = share * colour
    alpha_out[pixel] = covered


@wp.kernel(module="unique", enable_backward=False)
def vertex_normals(
    starts: wp.array(dtype=int),
    around: wp.array(dtype=int),
    triangles: wp.array(dtype=int),
    points: wp.array(dtype=wp.vec3),
    normals_out: wp.array(dtype=wp.vec3),
):
    """Sum of the area-weighted normals of the triangles `around` each vertex (`starts[i]` to `starts[i + 1]`), made a unit vector."""
    i = wp.tid()
    total = wp.vec3()
    for k in range(starts[i], starts[i + 1]):
        f = 3 * around[k]
        origin = points[triangles[f]]
        total += wp.cross(points[triangles[f + 1]] - origin, points[triangles[f + 2]] - origin)
    normals_out[i] = wp.normalize(total)
