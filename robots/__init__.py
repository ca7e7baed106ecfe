"""Robots: what every robot can do, kinematics, and the backends that move one."""
